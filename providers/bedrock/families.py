"""What kind of model a name on Bedrock means, and what its kind takes.

The name is a model's or an inference profile's id, or an ARN of either. An ARN of a customer's own (an application
inference profile, provisioned throughput) does not tell what is behind it: `hidden`.
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html, read 2026-11.
"""

from typing import Literal

from providers.claude import traits_of

Family = Literal["claude", "nova", "gpt-oss", "mistral", "cohere-embed", "titan-embed", "hidden", "other"]

_WORDS: dict[str, Family] = {
    "claude": "claude",
    "cohere.embed": "cohere-embed",
    "titan-embed": "titan-embed",
    "amazon.nova": "nova",
    "gpt-oss": "gpt-oss",
    "mistral.": "mistral",
}


def family_of(model: str) -> Family:
    """Return what kind of model a name means."""
    name = model.lower()
    found = next((family for word, family in _WORDS.items() if word in name), None)
    return found or ("hidden" if name.startswith("arn:") and "foundation-model/" not in name else "other")


def caches_prompts(family: Family) -> bool:
    """Whether a cache point may be sent; models that cache nothing refuse one.

    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, read 2026-11.
    """
    return family in {"claude", "nova", "hidden"}


def has_formats(family: Family, model: str) -> bool:
    """Whether output may be asked for by a schema, and a tool be declared strict.

    Of the models that are not known here the vendor refuses it for those that cannot.
    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html, read 2026-11.
    """
    return traits_of(model).has_formats if family == "claude" else family != "nova"


__all__ = ["Family", "caches_prompts", "family_of", "has_formats"]
