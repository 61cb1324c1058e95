"""Canonical requests in the words of Text Generation Inference.

Source: https://huggingface.github.io/text-generation-inference, read 2026-11; huggingface_hub 2.4,
`TextGenerationInputGenerateParameters`.
"""

from typing import Any

from providers.carry import carry, refuse
from providers.huggingface.prompt import Template, raw_prompt, write_prompt
from providers.types import ChatRequest, ResponseFormat, Sampling

DIALECT = "tgi"
_READS = frozenset({"adapter_id", "repetition_penalty", "truncate", "typical_p", "watermark"})
_CANNOT = frozenset(
    {
        "logit_bias",
        "logprobs",
        "metadata",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "top_logprobs",
        "user",
    }
)


def write_generate(request: ChatRequest, *, template: Template) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /generate` and `/generate_stream`, and the names of the fields that it leaves out."""
    if request.tools and not (request.tool_choice and request.tool_choice.mode == "none"):
        raise refuse("tools")
    dropped = carry(request, dialect=DIALECT, cannot=_CANNOT, reads=_READS)
    prompt = raw_prompt(request)
    parameters: dict[str, Any] = {
        "details": True,
        # What a prompt's tokens are counted by; a stream says their number of itself, and may not be asked.
        "decoder_input_details": None if request.stream else True,
        "return_full_text": False,
        "max_new_tokens": request.max_output_tokens,
        "stop": stops_of(request, template=template) or None,
        "grammar": _write_grammar(request.response_format),
        **_write_sampling(request.sampling),
    }
    parameters |= {name: request.extras.get(name) for name in _READS}
    body = {
        "inputs": write_prompt(request, template=template) if prompt is None else prompt,
        "parameters": {name: value for name, value in parameters.items() if value is not None},
    }
    return body, dropped


def stops_of(request: ChatRequest, *, template: Template) -> list[str]:
    """Return what ends an answer to `request`: what the client says, and the beginning of another turn."""
    own = template.stop if raw_prompt(request) is None else ()
    return list(dict.fromkeys((*request.sampling.stop, *own)))


def _write_sampling(sampling: Sampling) -> dict[str, Any]:
    """Return how tokens are chosen. The server takes no temperature of 0 and no `top_p` of 1, which are its defaults.

    Without `do_sample` it takes the likeliest token, whatever else is said.
    """
    temperature = sampling.temperature or None
    top_p = None if sampling.top_p is None or sampling.top_p >= 1 else sampling.top_p
    is_greedy = sampling.temperature == 0
    asked = (temperature, sampling.top_p, sampling.top_k, sampling.seed)
    return {
        "do_sample": not is_greedy if is_greedy or any(value is not None for value in asked) else None,
        "temperature": temperature,
        "top_p": None if is_greedy else top_p,
        "top_k": None if is_greedy else sampling.top_k,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
    }


def _write_grammar(value: ResponseFormat | None) -> dict[str, Any] | None:
    """Return the grammar of an answer; the server has none for JSON objects of any form."""
    if value is None or value.kind == "text":
        return None
    if value.schema is None:
        raise refuse("response_format", what="a JSON object without a schema")
    return {"type": "json", "value": value.schema}


__all__ = ["DIALECT", "stops_of", "write_generate"]
