"""Google's paths: content generated whole, and content streamed as events or as one JSON array."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from app.api.errors import status_of
from app.api.gemini.shapes import check_generate
from app.api.understanding import Call, Wire
from app.kernel.errors import GatewayError, NotFound
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation, Reader, StreamRenderer
from app.routing.vocabulary import Vocabulary
from providers.framing import sse
from providers.gemini.downstream import parse_generate
from providers.gemini.errors import write_error
from providers.gemini.inspect import ARRAY_GOES_ON
from providers.gemini.render import ChunkRenderer, render_completion
from providers.gemini.upstream import ChunkDecoder, ElementDecoder, read_completion
from providers.gemini.wire import GENERATE, camel, snake
from providers.types import ChatRequest, Completion

_WHOLE, _STREAMED = "generateContent", "streamGenerateContent"
_CONFIG = "generationConfig"
_CONFIGS = (_CONFIG, "generation_config")
_SYSTEM = ("systemInstruction", "system_instruction")


class GenerateRenderer:
    """Says canonical answers as generated content."""

    def whole(self, exchange: Exchange, answer: Completion) -> bytes:
        """Return the body of an answer."""
        return msgspec.json.encode(render_completion(answer, model=exchange.route.name, answer_id=_id_of(exchange)))

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Return a renderer for one stream, the end of an array included."""
        return ChunkRenderer(model=exchange.route.name, framing=exchange.asked.framing, answer_id=_id_of(exchange))


def _id_of(exchange: Exchange) -> str:
    return exchange.request_id.replace("-", "")


def _prefix_system(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Put the operator's instructions before the client's, under the name that the client used."""
    name = next((name for name in _SYSTEM if name in document), _SYSTEM[0])
    given = document.get(name)
    instruction = given if isinstance(given, dict) else {}
    return {name: {**instruction, "parts": [{"text": prefix}, *(instruction.get("parts") or [])]}}


def _either(camel: str, snake: str) -> tuple[str, ...]:
    """Return the paths of a field of the config, the usual one first; Google reads names in both cases."""
    return tuple(f"{config}.{name}" for config in _CONFIGS for name in (camel, snake))


VOCABULARY = Vocabulary(
    paths={
        "frequency_penalty": f"{_CONFIG}.frequencyPenalty",
        "logprobs": f"{_CONFIG}.responseLogprobs",
        "max_completion_tokens": f"{_CONFIG}.maxOutputTokens",
        "max_tokens": f"{_CONFIG}.maxOutputTokens",
        "messages": "contents",
        "n": f"{_CONFIG}.candidateCount",
        "presence_penalty": f"{_CONFIG}.presencePenalty",
        "reasoning_effort": f"{_CONFIG}.thinkingConfig.thinkingLevel",
        "response_format": f"{_CONFIG}.responseMimeType",
        "seed": f"{_CONFIG}.seed",
        "stop": f"{_CONFIG}.stopSequences",
        "temperature": f"{_CONFIG}.temperature",
        "tool_choice": "toolConfig",
        "top_k": f"{_CONFIG}.topK",
        "top_logprobs": f"{_CONFIG}.logprobs",
        "top_p": f"{_CONFIG}.topP",
    },
    lacks=frozenset({"logit_bias", "metadata", "parallel_tool_calls", "user"}),
    caps=_either("maxOutputTokens", "max_output_tokens"),
    choices=_either("candidateCount", "candidate_count"),
    system_prefix=_prefix_system,
    spellings=lambda name: (camel(name), snake(name)),
)


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    """Return what is asked: the path ends in the model, a colon and the method."""
    model, _, method = call.rest.rpartition(":")
    if method not in {_WHOLE, _STREAMED} or not model:
        raise NotFound(f"the method {method[:100]!r} does not exist", code="unknown_path")
    check_generate(document, model=model)
    is_sse = parse_qs(call.query).get("alt", [""])[-1].lower() == "sse"
    return Asked(
        model=model,
        stream=method == _STREAMED,
        # Every piece of an answer tells its usage unasked.
        keep_usage=True,
        framing="sse" if is_sse or method == _WHOLE else "array",
    )


def _parse(document: Mapping[str, Any], asked: Asked) -> ChatRequest:
    return parse_generate(document, model=asked.model, stream=asked.stream)


def google_body(error: GatewayError, request_id: str) -> bytes:
    """Return an error in Google's form, which does not name the request."""
    del request_id
    said = write_error(
        status_of(error),
        error.message,
        code=error.code,
        param=error.param,
        retry_after_s=error.retry_after_s,
    )
    return msgspec.json.encode(said)


def late_error(error: GatewayError, request_id: str) -> bytes:
    """Return an error as an event inside a stream."""
    return sse.encode(google_body(error, request_id))


def late_element(error: GatewayError, request_id: str) -> bytes:
    """Return an error as the last element of an array that is not closed: nobody can take it for a whole answer."""
    return ARRAY_GOES_ON + google_body(error, request_id)


GENERATE_WIRE = Wire(
    operation=Operation(
        name="chat",
        relay=GENERATE,
        endpoint="/v1beta/models",
        parse=_parse,
        renderer=GenerateRenderer(),
        reader=Reader(
            whole=read_completion, decoder=lambda framing: ElementDecoder() if framing == "array" else ChunkDecoder()
        ),
        has_choices=True,
        vocabulary=VOCABULARY,
        unseals=True,
    ),
    read=_read,
    say_error=google_body,
    say_late_error=late_error,
    say_late_element=late_element,
    path="/v1beta/models/{rest:path}",
    # Google's client for Python asks for version 1 unless it is told another.
    also_at=("/v1/models/{rest:path}",),
    keeps_alive=False,
)
