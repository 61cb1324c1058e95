"""Usage events as bytes, on their way through the queue."""

import msgspec

from app.domain.usage.schemas import UsageEvent

encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(UsageEvent).decode
