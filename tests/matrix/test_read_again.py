"""Relayed answers read for others than their client: what each wire says is read as it was meant, however it is cut.

Law: `decoder(render(c))` says what `c` says that may be kept: its words, thoughts, end and usage.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.wires import WIRES
from app.cache.answers import is_safe
from app.cache.replaying import in_pieces
from app.domain.keys.principal import Principal
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation
from app.routing.table import Route
from matrix.test_answers import DOCUMENTS
from providers.errors import ProviderError
from providers.stream import collect
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    FinishReason,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

USAGE = Usage(input_tokens=11, output_tokens=7, cache_read_tokens=3, reasoning_tokens=2)
READABLE = {wire.operation.relay: wire.operation for wire in WIRES if wire.operation.reader is not None}
FORMS = [(relay, "sse") for relay in READABLE] + [("gemini.generate", "array")]
_DOCUMENTS = {**DOCUMENTS, "openai.completions": {"model": "m", "prompt": "hi"}}


class Told(NamedTuple):
    """What an answer says: `ends` is why it ended."""

    text: str
    thoughts: str
    ends: str
    tokens: tuple[int, int] | None


def told(completion: Completion) -> Told:
    (choice,) = completion.choices
    text = "".join(part.text for part in choice.content if isinstance(part, TextPart))
    thoughts = "".join(part.text for part in choice.content if isinstance(part, ThinkingPart))
    usage = completion.usage
    return Told(text, thoughts, choice.finish_reason, usage and (usage.prompt_tokens, usage.output_tokens))


def exchange_of(operation: Operation, *, framing: Any = "sse", stream: bool = True) -> Exchange:
    return Exchange(
        request_id="0190b2c47d1e7c3a9f00000000000000",
        principal=Principal(key_id=None, organization_id=None),
        operation=operation,
        route=Route(name="m", label="m", targets=(), owned_by="p"),
        body=b"{}",
        document=_DOCUMENTS[operation.relay],
        started_ns=0,
        asked=Asked(model="m", stream=stream, keep_usage=True, framing=framing),
    )


def completion(*parts: Any, reason: FinishReason = "stop", usage: Usage | None = USAGE) -> Completion:
    choice = Choice(index=0, content=list(parts), finish_reason=reason)
    return Completion(id="1", model="m", created=7, choices=[choice], usage=usage)


def rendered(relay: str, answer: Completion, framing: str) -> list[bytes]:
    """Return the parts of a stream as they are written."""
    operation = READABLE[relay]
    assert operation.renderer is not None
    stream = operation.renderer.stream(exchange_of(operation, framing=framing))
    return [*(stream.feed(event) for event in in_pieces(answer)), stream.finish()]


def decoded(relay: str, parts: Iterator[bytes] | list[bytes], framing: str) -> list[ChatEvent]:
    operation = READABLE[relay]
    assert operation.reader is not None
    decoder = operation.reader.decoder(framing)
    events = [event for part in parts for event in decoder.feed(part)]
    return [*events, *decoder.finish()]


def thinks(relay: str) -> bool:
    """Whether a wire has words for thoughts."""
    return relay != "openai.completions"


def test_every_wire_that_is_relayed_as_a_conversation_can_be_read() -> None:
    conversations = {
        wire.operation.relay for wire in WIRES if wire.operation.renderer is not None and wire.operation.generates
    }
    assert conversations - READABLE.keys() == {"llm.chat"}


SAID = completion(ThinkingPart(text="hm, well"), TextPart(text='Grüezi 🌍\n\n data: [DONE]\r\n,\r\n{ "}]'))


@pytest.mark.parametrize("relay", READABLE)
def test_whole_answers_are_read_as_they_were_said(relay: str) -> None:
    operation = READABLE[relay]
    assert operation.renderer is not None
    assert operation.reader is not None
    body = operation.renderer.whole(exchange_of(operation, stream=False), SAID)
    found = operation.reader.whole(body)
    wanted = told(SAID)
    assert told(found) == (wanted if thinks(relay) else wanted._replace(thoughts=""))
    assert is_safe(found)


@pytest.mark.parametrize(("relay", "framing"), [form for form in FORMS if form[1] == "sse"])
def test_streams_are_read_as_they_were_said_wherever_they_are_cut(relay: str, framing: str) -> None:
    data = b"".join(rendered(relay, SAID, framing))
    wanted = decoded(relay, [data], framing)
    assert told(collect(wanted)) == (told(SAID) if thinks(relay) else told(SAID)._replace(thoughts=""))
    for at in range(1, len(data)):
        assert decoded(relay, [data[:at], data[at:]], framing) == wanted, data[max(0, at - 20) : at + 20]
    assert decoded(relay, [bytes([byte]) for byte in data], framing) == wanted


def test_elements_of_an_array_are_read_as_they_come() -> None:
    parts = rendered("gemini.generate", SAID, "array")
    for cut in (parts, [b"".join(parts)], [b"".join(parts[:2]), b"".join(parts[2:])], [*parts[:1], b"", *parts[1:]]):
        assert told(collect(decoded("gemini.generate", cut, "array"))) == told(SAID)


@settings(max_examples=60)
@given(
    st.sampled_from(FORMS),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=500),
    st.integers(1, 40),
    st.sampled_from(["stop", "length"]),
)
def test_any_text_is_read_as_it_was_said(form: tuple[str, str], text: str, size: int, reason: Any) -> None:
    relay, framing = form
    parts = rendered(relay, completion(TextPart(text=text), reason=reason), framing)
    if framing == "sse":
        data = b"".join(parts)
        parts = [data[at : at + size] for at in range(0, len(data), size)]
    found = told(collect(decoded(relay, parts, framing)))
    assert (found.text, found.ends) == (text, reason)


UNSAFE: list[tuple[str, Callable[[], Completion]]] = [
    ("refusal", lambda: completion(RefusalPart(text="no"), reason="refusal")),
    ("calls", lambda: completion(TextPart(text="a"), ToolCallPart(id="1", name="f"), reason="tool_calls")),
    ("filter", lambda: completion(TextPart(text="a"), reason="content_filter")),
    ("cut", lambda: completion(TextPart(text="a"), reason="length")),
]


@pytest.mark.parametrize(
    ("relay", "framing", "make"),
    [
        pytest.param(*form, make, id=f"{form}: {name}")
        for form in FORMS
        for name, make in UNSAFE
        # Text completions have no words for refusals and calls.
        if form[0] != "openai.completions" or name not in {"refusal", "calls"}
    ],
)
def test_what_must_not_be_kept_is_seen_by_whoever_reads(
    relay: str, framing: str, make: Callable[[], Completion]
) -> None:
    operation = READABLE[relay]
    assert operation.renderer is not None
    assert operation.reader is not None
    try:
        whole = operation.reader.whole(operation.renderer.whole(exchange_of(operation, stream=False), make()))
        streamed = collect(decoded(relay, rendered(relay, make(), framing), framing))
    except ProviderError:
        return
    assert (is_safe(whole), is_safe(streamed)) == (False, False)


@pytest.mark.parametrize(("relay", "framing"), FORMS)
def test_a_stream_that_is_cut_is_no_answer(relay: str, framing: str) -> None:
    parts = [part for part in rendered(relay, SAID, framing) if part]
    for length in range(len(parts)):
        try:
            events = decoded(relay, parts[:length], framing)
            found = collect(events)
        except ProviderError:
            continue
        # Google's streams end with their body: what says why it ended is whole.
        assert relay == "gemini.generate"
        assert (found.choices[0].finish_reason, told(found).text) == ("stop", told(SAID).text)


@pytest.mark.parametrize("relay", READABLE)
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"choices": 7}', b'{"error": {"message": "x"}}', b"<html>", b'{"choices": [{}]}'],
)
def test_what_is_no_answer_is_refused_or_not_safe(relay: str, body: bytes) -> None:
    reader = READABLE[relay].reader
    assert reader is not None
    try:
        found = reader.whole(body)
    except ProviderError:
        return
    assert not is_safe(found)
