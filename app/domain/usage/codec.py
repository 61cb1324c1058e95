"""Usage events as bytes, on their way through the queue."""

import msgspec

from app.domain.usage.schemas import UsageEvent

encode_event = msgspec.msgpack.Encoder().encode
encode_events = msgspec.msgpack.Encoder().encode
decode_events = msgspec.msgpack.Decoder(list[UsageEvent]).decode
decode_event = msgspec.msgpack.Decoder(UsageEvent).decode
