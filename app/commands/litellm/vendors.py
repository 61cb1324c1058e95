"""LiteLLM's names of vendors, and the adapters that speak to them. Law: data, and pure functions of a model's name.

Source: docs.litellm.ai/docs/providers, read 2026-11.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

RENAMED = {
    "azure_text": "azure",
    "azure_ai": "azure",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "databricks": "openai",
    "docker_model_runner": "openai",
    "featherless_ai": "featherless",
    "fireworks_ai": "fireworks",
    "friendliai": "friendli",
    "hosted_vllm": "vllm",
    "infinity": "openai",
    "lemonade": "openai",
    "litellm_proxy": "openai",
    "llamafile": "llamacpp",
    "lm_studio": "lmstudio",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "openai_like": "openai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "vertex",
    "vertex_ai_beta": "vertex",
    "xinference": "openai",
}
"""Vendors whose adapter has another name; all others have their own."""

GONE = {
    "auto_router": "a model cannot be chosen by the prompt here; an ensemble with `strategy: cascade` begins cheap",
    "github": "the vendor has ended this service",
    "perplexity": "the vendor has ended this API",
    "sagemaker": "there is no adapter for it; serve it behind an OpenAI-compatible server, or write an adapter",
    "sagemaker_chat": "there is no adapter for it; serve it behind an OpenAI-compatible server, or write an adapter",
}
"""Vendors that nothing here speaks to, and why."""

KEY_VARIABLES = {
    "azure": "AZURE_API_KEY",
    "huggingface": "HUGGINGFACE_API_KEY",
    "together": "TOGETHERAI_API_KEY",
    "nvidia": "NVIDIA_NIM_API_KEY",
    "fireworks": "FIREWORKS_AI_API_KEY",
}
"""Where LiteLLM looks for a key that the file does not name, where that is not the vendor's own first variable."""

_BARE = (
    (
        re.compile(r"(gpt-|o[134](-|$)|chatgpt-|text-embedding-|dall-e|whisper-|tts-|omni-moderation|ft:|davinci)"),
        "openai",
    ),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"(command|embed-|rerank-)"), "cohere"),
    (re.compile(r"(gemini-|text-bison|chat-bison)"), "vertex_ai"),
    (re.compile(r"(anthropic|amazon|meta|mistral|cohere|ai21)\."), "bedrock"),
)
"""Whose model a name without a vendor means."""

_BEDROCK_ROUTE = re.compile(r"(converse_like|converse|invoke|llama|deepseek_r1|nova)/")
_AWS_REGION = re.compile(r"(?P<region>[a-z]{2}(-[a-z]+)+-[0-9])/")
_AZURE_ROUTE = re.compile(r"(o_series|gpt5_series|responses|chat)/")
_OPENAI_ROUTE = re.compile(r"(responses|chat)/")
_NO_WORDS = re.compile(r"(veo|imagen|imagegeneration|multimodalembedding|lyria)")
_PARTNERS = re.compile(r"(claude|mistral|codestral|meta|llama|jamba|deepseek|qwen|openai|agent_engine|[0-9]+$)")


class Upstream(NamedTuple):
    """Whose model it is by LiteLLM's name, and what the vendor calls it. `region` is one that the name held."""

    vendor: str
    model: str
    region: str | None = None


def upstream_of(model: str, *, vendor: str | None, adapters: Collection[str], has_base: bool) -> Upstream:
    """Return what `litellm_params.model` means.

    `vendor` is its `custom_llm_provider`; `has_base` whether an address is given, so that a name nobody knows is that
    of an OpenAI-compatible server.
    """
    prefix, mark, rest = model.partition("/")
    if vendor is not None:
        return _without_route(vendor, model.removeprefix(f"{vendor}/"))
    if mark and (prefix in adapters or prefix in RENAMED or prefix in GONE or not has_base):
        return _without_route(prefix, rest)
    meant = next((name for pattern, name in _BARE if pattern.match(model)), "openai")
    return _without_route("openai" if has_base else meant, model)


def _without_route(vendor: str, model: str) -> Upstream:
    """Drop what LiteLLM reads from a name besides the name."""
    if vendor == "bedrock":
        model = _BEDROCK_ROUTE.sub("", model, count=1) if _BEDROCK_ROUTE.match(model) else model
        found = _AWS_REGION.match(model)
        return Upstream(vendor, model[found.end() :], found["region"]) if found else Upstream(vendor, model)
    if vendor == "huggingface":
        return Upstream(vendor, _on_the_router(model))
    route = {"azure": _AZURE_ROUTE, "openai": _OPENAI_ROUTE}.get(vendor)
    found = route.match(model) if route else None
    return Upstream(vendor, model[found.end() :] if found else model)


def _on_the_router(model: str) -> str:
    """Return `owner/model:provider` for LiteLLM's `provider/owner/model`."""
    parts = model.split("/")
    return f"{parts[1]}/{parts[2]}:{parts[0]}" if len(parts) == 3 else model  # noqa: PLR2004 - provider, owner, model


def adapter_of(vendor: str) -> str:
    """Return the adapter that speaks to a vendor, whether or not it exists."""
    return RENAMED.get(vendor, vendor)


def unserved(upstream: Upstream) -> str | None:
    """Return why no adapter serves a model of a vendor that one speaks to."""
    if upstream.vendor in GONE:
        return GONE[upstream.vendor]
    is_google = upstream.vendor in {"vertex_ai", "vertex_ai_beta"}
    if is_google and _PARTNERS.match(upstream.model):
        return "of Vertex AI's models those of Google are served; reach this one at its own vendor, or by Bedrock"
    if is_google and _NO_WORDS.match(upstream.model):
        return "Vertex AI's models for pictures, films and sounds have no adapter"
    if not upstream.model:
        return "names no model"
    if upstream.vendor == "azure_ai" and upstream.model.startswith("claude"):
        return "Claude on Azure speaks Anthropic's API: write a provider with `adapter: anthropic` and its `base_url`"
    return None
