"""Who presents an admin credential. Law: a secret is compared in constant time, and an unknown one costs the same."""

import hmac

from app.domain.audit.principal import ENVIRONMENT, Principal
from app.domain.keys.renewal import Renewals
from app.domain.keys.repository import KeyRepository
from app.domain.keys.schemas import AdminKeyRecord
from app.domain.keys.secrets import Peppers, key_mac, parse_key
from app.kernel.clock import Clock
from app.kernel.errors import Forbidden, Unauthenticated
from providers.types import Secret


class AdminKeyAuthenticator:
    """Turns a presented key into a principal: the environment's key, or one from the database."""

    def __init__(
        self,
        keys: KeyRepository,
        *,
        peppers: Peppers,
        clock: Clock,
        renewals: Renewals | None = None,
        environment_key: Secret | None = None,
    ) -> None:
        """Make one; `renewals` hears of each key that is right."""
        self._keys = keys
        self._peppers = peppers
        self._clock = clock
        self._renewals = renewals
        self._environment_macs: tuple[bytes, ...] = ()
        if environment_key is not None:
            text = environment_key.reveal().encode()
            self._environment_macs = tuple(key_mac(each.key, text) for each in peppers if each is not None)

    async def __call__(self, token: bytes) -> Principal:
        """Return the principal; raises `Unauthenticated`, or `Forbidden` for a key of the inference API."""
        if self._is_environments(key_mac(self._peppers.current.key, token)):
            return ENVIRONMENT
        parsed = parse_key(token)
        if parsed is None:
            raise Unauthenticated
        if parsed.kind != "admin":
            raise Forbidden("an inference key opens nothing here: use an admin key", code="wrong_credential_type")
        record = await self._keys.find_admin_by_public_id(parsed.public_id)
        if self._peppers.match(token, record) is None or record is None:
            raise Unauthenticated
        principal = self._admit(record)
        if self._renewals is not None:
            self._renewals.note(parsed.public_id, token, stored=record)
        return principal

    @property
    def environment_mac(self) -> bytes | None:
        """The keyed hash of the environment's key, if there is one."""
        return self._environment_macs[0] if self._environment_macs else None

    async def readmit(self, public_id: str) -> Principal:
        """Return the principal of a key that was presented before, by its secret's public id; raises as a call does."""
        record = await self._keys.find_admin_by_public_id(public_id)
        if record is None or self._peppers.find(record) is None:
            raise Unauthenticated
        return self._admit(record)

    def readmit_environment(self, mac: bytes) -> Principal:
        """Return the principal of the environment's key if that is still the one of this keyed hash."""
        if not self._is_environments(mac):
            raise Unauthenticated
        return ENVIRONMENT

    def _is_environments(self, mac: bytes) -> bool:
        """Tell whether this is the keyed hash of the environment's key, under either pepper."""
        return any(hmac.compare_digest(mac, each) for each in self._environment_macs)

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
