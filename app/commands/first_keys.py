"""The keys of a first run. Law: made once, in one transaction, and shown only by the run that made them."""

from dataclasses import dataclass

from app.domain.audit.principal import COMMAND_LINE, Role
from app.domain.keys.schemas import CreateAdminKey, CreateKey
from app.domain.services import AdminServices
from app.kernel.clock import SystemClock
from app.kernel.ids import uuid7_text

_NAME = "made on the first run"


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """What the database has in the way of keys; the texts are of keys that were made just now."""

    has_admin_key: bool
    inference_key: str | None = None
    admin_key: str | None = None


async def look(services: AdminServices) -> KeyState:
    """Tell whether an admin key exists; make nothing."""
    return KeyState(has_admin_key=await services.key_repository.has_admin_key(SystemClock().now()))


async def make_first(services: AdminServices, *, wants_admin_key: bool) -> KeyState:
    """Make an inference key, and an admin key if wanted and there is none, unless a key was ever made here."""
    state = await look(services)
    if await services.key_repository.has_key():
        return state
    async with services.auditor.transaction(COMMAND_LINE, request_id=uuid7_text()) as transaction:
        key = await services.keys.create(transaction, CreateKey(name=_NAME, may_route=True))
        if not wants_admin_key or state.has_admin_key:
            return KeyState(has_admin_key=state.has_admin_key, inference_key=key.secret)
        admin = await services.admin_keys.create(transaction, CreateAdminKey(name=_NAME, role=Role.OWNER))
    return KeyState(has_admin_key=True, inference_key=key.secret, admin_key=admin.secret)
