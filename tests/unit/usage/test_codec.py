"""Events of another release on their way through the queue: workers of two releases share one."""

import msgspec
from accounting.events import make_event

from app.domain.usage.adjusting import adjustment
from app.domain.usage.codec import decode_event, decode_events, encode_event, encode_events
from app.domain.usage.schemas import UsageEvent

ADDED = ("fanout", "leg")


def as_before(event: UsageEvent) -> bytes:
    """Return an event as a release writes it that knows nothing of fan-outs."""
    fields = {name: value for name, value in msgspec.structs.asdict(event).items() if name not in ADDED}
    return msgspec.msgpack.encode(fields)


def test_an_event_of_the_release_before_is_read():
    event = make_event(fanout="careful", leg="won", tags={"run": "7"})
    read = decode_event(as_before(event))
    assert read == msgspec.structs.replace(event, fanout=None, leg=None)


def test_the_release_before_reads_ours():
    fields = [field for field in msgspec.structs.fields(UsageEvent) if field.name not in ADDED]
    before = msgspec.defstruct(
        "Before",
        [(f.name, f.type) if f.required else (f.name, f.type, msgspec.field(default=None)) for f in fields],
        kw_only=True,
    )
    event = make_event(fanout="careful", leg="judge")
    assert msgspec.msgpack.decode(encode_event(event), type=before).event_id == event.event_id


def test_what_it_was_part_of_goes_with_it():
    events = [make_event(fanout="race", leg="lost"), make_event()]
    assert decode_events(encode_events(events)) == events
    assert (adjustment(events[0], events[1]).fanout, adjustment(events[0], events[1]).leg) == ("race", None)
