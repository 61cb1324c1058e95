"""Who presents an admin credential. Law: a secret is compared in constant time, and an unknown one costs the same."""

import hmac

from app.domain.audit.principal import ENVIRONMENT, Principal
from app.domain.keys.repository import KeyRepository
from app.domain.keys.schemas import AdminKeyRecord
from app.domain.keys.secrets import Pepper, key_mac, parse_key
from app.kernel.clock import Clock
from app.kernel.errors import Forbidden, Unauthenticated
from providers.types import Secret

_NOBODY = bytes(32)


class AdminKeyAuthenticator:
    """Turns a presented key into a principal: the environment's key, or one from the database."""

    def __init__(
        self, keys: KeyRepository, *, pepper: Pepper, clock: Clock, environment_key: Secret | None = None
    ) -> None:
        self._keys = keys
        self._pepper = pepper
        self._clock = clock
        self._environment_mac = None
        if environment_key is not None:
            self._environment_mac = key_mac(pepper.key, environment_key.reveal().encode())

    async def __call__(self, token: bytes) -> Principal:
        """Return the principal; raises `Unauthenticated`, or `Forbidden` for a key of the inference API."""
        mac = key_mac(self._pepper.key, token)
        if self._environment_mac is not None and hmac.compare_digest(mac, self._environment_mac):
            return ENVIRONMENT
        parsed = parse_key(token)
        if parsed is None:
            raise Unauthenticated
        if parsed.kind != "admin":
            raise Forbidden("an inference key opens nothing here: use an admin key", code="wrong_credential_type")
        record = await self._keys.find_admin_by_public_id(parsed.public_id)
        expected = _NOBODY if record is None or record.secret_kid != self._pepper.kid else record.secret_mac
        if not hmac.compare_digest(mac, expected) or record is None:
            raise Unauthenticated
        return self._admit(record)

    @property
    def environment_mac(self) -> bytes | None:
        """The keyed hash of the environment's key, if there is one."""
        return self._environment_mac

    async def readmit(self, public_id: str) -> Principal:
        """Return the principal of a key that was presented before, by its secret's public id; raises as a call does."""
        record = await self._keys.find_admin_by_public_id(public_id)
        if record is None or record.secret_kid != self._pepper.kid:
            raise Unauthenticated
        return self._admit(record)

    def readmit_environment(self, mac: bytes) -> Principal:
        """Return the principal of the environment's key if that is still the one of this keyed hash."""
        if self._environment_mac is None or not hmac.compare_digest(mac, self._environment_mac):
            raise Unauthenticated
        return ENVIRONMENT

    def _admit(self, record: AdminKeyRecord) -> Principal:
        now = self._clock.now()
        if record.status != "active":
            raise Unauthenticated(f"the key is {record.status}", code=f"key_{record.status}")
        for ends in (record.expires_at, record.secret_expires_at):
            if ends is not None and ends <= now:
                raise Unauthenticated("the key has expired", code="key_expired")
        return Principal(
            kind="admin_key",
            id=str(record.key_id),
            name=record.name,
            role=record.role,
            organization_id=record.organization_id,
        )
