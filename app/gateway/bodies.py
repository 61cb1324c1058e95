"""Seals what requests and answers said, to be kept beside their traces, and opens it again.

Law: what is kept is sealed under the master secret and bound to its organisation and request, so that what is moved
elsewhere opens for nobody; it is cut before, so that nobody's is large.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from app.cache.answers import Sealer
from app.domain.keys.secrets import MasterSecrets
from app.kernel.errors import InternalError
from app.pipeline.explained_bodies import ExplainedBodies, told_body
from app.pipeline.transcript import Transcript
from app.settings.model import Settings

_LARGE_BYTES = 1 << 16
"""What is larger is sealed in a thread, so that the event loop never stalls."""


class SealedBodies(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed: of both bodies the beginning, and how long all of it is."""

    request: bytes
    request_bytes: int
    answer: bytes
    answer_bytes: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SealedBodies).decode


class Spoken(msgspec.Struct, frozen=True):
    """The bodies of a request, and whose they are; ids are in their usual form."""

    request_id: str
    organization_id: str
    transcript: Transcript


class BodySealer:
    """Seals and opens bodies. One for each process."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def seal(self, spoken: Sequence[Spoken]) -> dict[str, bytes]:
        """Return what is kept of the bodies of each request, by its id; what was sealed before is not sealed again."""
        if sum(each.transcript.held_bytes for each in spoken) > _LARGE_BYTES:
            return await asyncio.to_thread(self._seal_all, spoken)
        return self._seal_all(spoken)

    def open(self, sealed: bytes, *, request_id: str, organization_id: str) -> ExplainedBodies | None:
        """Return the bodies of a request; nothing of what was sealed for another, or under another secret."""
        data = self._sealer.open(sealed, place=_place(request_id, organization_id))
        try:
            found = None if data is None else _decode(data)
        except msgspec.DecodeError:
            return None
        if found is None:
            return None
        return ExplainedBodies(
            request=told_body(found.request, size_bytes=found.request_bytes),
            answer=told_body(found.answer, size_bytes=found.answer_bytes),
        )

    def _seal_all(self, spoken: Sequence[Spoken]) -> dict[str, bytes]:
        return {each.request_id: self._sealed(each) for each in spoken}

    def _sealed(self, spoken: Spoken) -> bytes:
        transcript = spoken.transcript
        if transcript.sealed is not None:
            return transcript.sealed
        request, answer = transcript.request, transcript.answer
        data = _encode(SealedBodies(bytes(request.data), request.size_bytes, bytes(answer.data), answer.size_bytes))
        sealed = self._sealer.seal(data, place=_place(spoken.request_id, spoken.organization_id))
        transcript.seal(sealed)
        return sealed


def _place(request_id: str, organization_id: str) -> bytes:
    """Return what binds sealed bodies to their place."""
    return f"bodies of request {request_id} of {organization_id}".encode()


def open_body_sealer(settings: Settings) -> BodySealer:
    """Return what seals bodies under the master secret. Raises `InternalError` where there is none."""
    if settings.master_secret is None:
        raise InternalError("the master secret is missing")
    keys = MasterSecrets(settings.master_secret, settings.old_master_secret).derive(purpose="request bodies 1")
    return BodySealer(Sealer(keys.current, old_key=keys.old))
