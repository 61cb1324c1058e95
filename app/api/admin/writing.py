"""Writes over HTTP: `Idempotency-Key`, `If-Match`, and the answer."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.enums import MediaType

from app.domain.audit.answers import Answer
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.services import AdminServices
from app.kernel.errors import InvalidRequest

Effect = Callable[[AuditedTransaction], Awaitable[Any]]
_NO_STORE = {"cache-control": "no-store"}
_VERSION_DIGITS = 18


class Write:
    """One write request: runs its effect once, in one audited transaction, and answers."""

    def __init__(
        self,
        request: Request[Any, Any, Any],
        *,
        services: AdminServices,
        principal: Principal,
        idempotency_key: str | None,
        if_match: str | None,
    ) -> None:
        self._request = request
        self._services = services
        self._principal = principal
        self._key = idempotency_key
        self._if_match = if_match

    async def __call__(self, effect: Effect, *, status: int = 200) -> Response[Any]:
        """Return the answer to `effect`, or the one that was kept under the request's Idempotency-Key."""
        for name in ("Idempotency-Key", "If-Match"):
            if len(self._request.headers.getall(name.lower(), [])) > 1:
                raise InvalidRequest(f"{name} is given more than once", param=name)
        async with self._transaction() as opened:
            if self._key is None:
                return _response(_answer(await effect(opened), status=status))
            return await self._once(opened, effect, key=self._key, status=status)

    async def after(self, work: Callable[[], Awaitable[Effect]]) -> Response[Any]:
        """Do what takes longer than others should wait, and then write of it: `work` returns what writes.

        Of two at once under one Idempotency-Key both are done; one is written of, and both are answered the same.
        """
        async with self._transaction() as opened:
            if self._key is not None:
                kept = await self._services.answers.find(opened, key=self._key, request=await self._identity())
                if kept is not None:
                    return _response(kept, replayed=True)
        return await self(await work())

    def _transaction(self) -> AbstractAsyncContextManager[AuditedTransaction]:
        return self._services.auditor.transaction(
            self._principal,
            request_id=self._request.scope["state"]["request_id"],
            expected_versions=expected_versions(self._if_match),
        )

    async def _once(self, transaction: AuditedTransaction, effect: Effect, *, key: str, status: int) -> Response[Any]:
        claim = await self._services.answers.claim(transaction, key=key, request=await self._identity())
        if isinstance(claim, Answer):
            return _response(claim, replayed=True)
        answer = _answer(await effect(transaction), status=status)
        await self._services.answers.keep(transaction, claim, answer)
        return _response(answer)

    async def _identity(self) -> bytes:
        """Return all that makes the request: two requests under one key must not differ in it."""
        request = self._request
        return b"\0".join((request.method.encode(), request.scope["path"].encode(), await request.body()))


def expected_versions(if_match: str | None) -> frozenset[int] | None:
    """Return the versions that `If-Match` allows, None for any; an ETag that is none of ours matches nothing."""
    tags = [] if if_match is None else [tag.strip() for tag in if_match.split(",")]
    if not tags or "*" in tags:
        return None
    quoted = [tag[1:-1] for tag in tags if tag.startswith('"') and tag.endswith('"')]
    return frozenset(int(text) for text in quoted if text.isascii() and text.isdigit() and len(text) <= _VERSION_DIGITS)


def etag_of(record: Any) -> str | None:
    """Return the ETag of a stored object."""
    version = getattr(record, "version", None)
    return None if version is None else f'"{version}"'


def read_response(record: Any) -> Response[Any]:
    """Return one object with its ETag, or a page."""
    return _response(_answer(record, status=200))


def _answer(result: Any, *, status: int) -> Answer:
    body = b"" if result is None else msgspec.json.encode(result)
    return Answer(status, etag_of(result), body)


def _response(answer: Answer, *, replayed: bool = False) -> Response[Any]:
    headers = dict(_NO_STORE)
    if answer.etag is not None:
        headers["etag"] = answer.etag
    if replayed:
        headers["idempotent-replayed"] = "true"
    content = answer.body or None
    return Response(content, status_code=answer.status, media_type=MediaType.JSON, headers=headers)
