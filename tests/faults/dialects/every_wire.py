"""Every wire that faults are tried on: the vendors', and the native one where it carries their bytes as they are."""

from faults.dialects.clients import CLIENTS
from faults.dialects.vendors import ANTHROPIC, GEMINI, NATIVE, OPENAI, RESPONSES, VENDORS
from faults.dialects.wires import Wire

from providers.anthropic.inspect import StreamInspector as MessageInspector
from providers.gemini.inspect import StreamInspector as ContentInspector
from providers.native.wire import End, Relayed, write_line
from providers.openai.inspect import StreamInspector as ChunkInspector
from providers.openai.responses.inspect import ResponseStreamInspector
from providers.protocol import Inspector


def _relaying(wire: Wire, *, operation: str, inspectors: list[Inspector]) -> Wire:
    """Return the native wire that carries a vendor's answers to its own clients; each stream has an inspector."""
    client = wire.relays[0]
    watched = zip(wire.streams.items(), inspectors, strict=True)
    return NATIVE._replace(
        name=f"native-{wire.name}",
        settings={**NATIVE.settings, "relays": [operation]},
        streams={name: _carried(frames, inspector) for (name, frames), inspector in watched},
        whole=write_line(Relayed(data=wire.whole, has_content=True, is_finished=True, output_tokens_seen=1)).strip(),
        said=wire.said,
        relays=(client,),
        unasked=tuple(other.name for other in CLIENTS if other.name != client),
        trailers=(b'"type":"end"',),
    )


def _carried(frames: list[bytes], inspector: Inspector) -> list[bytes]:
    """Return the lines that carry a stream, each with what the service's inspector knew by then, and their end."""
    lines = [_line(inspector.feed(frame), inspector) for frame in frames]
    if not inspector.is_finished:
        lines.append(_line(inspector.end(), inspector))
    return [*lines, write_line(End())]


def _line(data: bytes, inspector: Inspector) -> bytes:
    return write_line(
        Relayed(
            data=data,
            usage=inspector.usage,
            has_content=inspector.has_content,
            is_finished=inspector.is_finished,
            output_tokens_seen=inspector.output_tokens_seen,
            issued=inspector.issued,
        )
    )


RELAYS = (
    _relaying(OPENAI, operation="openai.chat", inspectors=[ChunkInspector(keep_usage=True) for _ in OPENAI.streams]),
    _relaying(
        RESPONSES, operation="openai.responses", inspectors=[ResponseStreamInspector() for _ in RESPONSES.streams]
    ),
    _relaying(ANTHROPIC, operation="anthropic.messages", inspectors=[MessageInspector() for _ in ANTHROPIC.streams]),
    _relaying(GEMINI, operation="gemini.generate", inspectors=[ContentInspector() for _ in GEMINI.streams]),
)
WIRES = (*VENDORS, *RELAYS)
