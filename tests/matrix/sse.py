"""Server-sent events, read as a client does."""

from typing import Any

import msgspec

from providers.framing import sse


def events_of(frames: bytes) -> list[dict[str, Any]]:
    """Return the data of the events that are JSON, in order; the name of an event must be its type."""
    events = []
    for frame in sse.split_frames(frames):
        data = sse.data_of(frame)
        if data is None or data == b"[DONE]":
            continue
        event = msgspec.json.decode(data)
        name = sse.event_of(frame)
        assert name is None or event["type"].encode() == name
        events.append(event)
    return events
