"""`llm-gateway keys`: the services of the admin API, without the API. Law: a secret is shown once, when it is made."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from app.commands.database import over_database
from app.commands.failure import CommandFailed
from app.db.paging import Page
from app.domain.audit.principal import COMMAND_LINE
from app.domain.keys.schemas import AdminKey, AdminKeyWithSecret, ApiKey, ApiKeyWithSecret, CreateAdminKey, CreateKey
from app.domain.keys.secrets import parse_key
from app.domain.services import AdminServices
from app.domain.tenants.policies import Budget
from app.kernel.ids import uuid7_text
from app.kernel.money import parse_usd

_PAGE = 200
_OPTIONS = {
    "team_id": "--team",
    "organization_id": "--organization",
    "tags": "--tag",
    "budget.amount": "--budget",
    "budget.period": "--budget-period",
    "budget.timezone": "--budget-timezone",
    "limits.requests_per_minute": "--rpm",
    "limits.tokens_per_minute": "--tpm",
    "limits.concurrency": "--concurrency",
    "limits.max_output_tokens": "--max-output-tokens",
}
"""The options that are not called as the field of the request that they fill."""
_COLUMNS = ("id", "public_id", "name", "status", "created_at", "expires_at")


@dataclass(frozen=True, kw_only=True)
class NewKeySpec:
    """The options of `keys create`; those of an inference key are refused for an admin key, and the other way round."""

    is_admin: bool
    fields: dict[str, Any] = field(default_factory=dict)


def create(config: Path | None, *, spec: NewKeySpec) -> ApiKeyWithSecret | AdminKeyWithSecret:
    """Make a key and return it with its secret."""
    request = _request(spec)

    async def work(services: AdminServices) -> ApiKeyWithSecret | AdminKeyWithSecret:
        async with services.auditor.transaction(COMMAND_LINE, request_id=uuid7_text()) as transaction:
            if isinstance(request, CreateAdminKey):
                return await services.admin_keys.create(transaction, request)
            return await services.keys.create(transaction, request)

    return over_database(config, work)


def list_all(config: Path | None, *, is_admin: bool) -> list[ApiKey | AdminKey]:
    """Return every key, newest first."""

    async def work(services: AdminServices) -> list[ApiKey | AdminKey]:
        return [key async for key in _every(services, is_admin=is_admin)]

    return over_database(config, work)


def revoke(config: Path | None, *, name: str, is_admin: bool) -> ApiKey | AdminKey:
    """End the key that `name` means, for good; it may be the id, the public id, or the whole key."""

    async def work(services: AdminServices) -> ApiKey | AdminKey:
        key_id = await find_id(services, name, is_admin=is_admin)
        async with services.auditor.transaction(COMMAND_LINE, request_id=uuid7_text()) as transaction:
            if is_admin:
                return await services.admin_keys.revoke(transaction, key_id)
            return await services.keys.revoke(transaction, key_id)

    return over_database(config, work)


def as_json(value: object) -> str:
    """Return what `--json` prints: the objects of the admin API."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def as_table(keys: Sequence[ApiKey | AdminKey]) -> str:
    """Return keys as aligned columns, with a heading."""
    rows = [_COLUMNS, *([_cell(getattr(key, column)) for column in _COLUMNS] for key in keys)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_COLUMNS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _request(spec: NewKeySpec) -> CreateKey | CreateAdminKey:
    """Return the request that the admin API would have got; raises `CommandFailed` for what it would refuse."""
    given = {name: value for name, value in spec.fields.items() if value not in (None, (), {}, False)}
    kind: type[CreateKey | CreateAdminKey] = CreateAdminKey if spec.is_admin else CreateKey
    foreign = given.keys() - set(kind.__struct_fields__)
    if foreign:
        options = ", ".join(sorted(_option(path) for name in foreign for path in _paths(name, given[name])))
        other = "an inference key" if spec.is_admin else "an admin key (--admin)"
        raise CommandFailed(f"{options}: only {other} has this")
    _check_budget(given.get("budget"))
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise CommandFailed(str(error)) from None


def _check_budget(given: dict[str, str] | None) -> None:
    """Raise `CommandFailed` naming the option at fault; a budget's own error names only the budget."""
    if given is None:
        return
    if "amount" not in given:
        raise CommandFailed(f"{_option(f'budget.{next(iter(given))}')} needs --budget")
    try:
        parse_usd(given["amount"])
    except ValueError as error:
        raise CommandFailed(f"--budget: {error}") from None
    try:
        Budget(**given)  # type: ignore[arg-type] # the period is one of the choices
    except ValueError as error:
        raise CommandFailed(f"--budget-timezone: {error}") from None


def _paths(name: str, value: Any) -> list[str]:
    return [f"{name}.{part}" for part in value] if name in {"limits", "budget"} else [name]


def _option(path: str) -> str:
    return _OPTIONS.get(path) or f"--{path.replace('_', '-')}"


async def _every(services: AdminServices, *, is_admin: bool) -> AsyncIterator[ApiKey | AdminKey]:
    cursor: str | None = None
    while True:
        page: Page[Any] = await (services.admin_keys if is_admin else services.keys).page(
            COMMAND_LINE, limit=_PAGE, cursor=cursor
        )
        for key in page.items:
            yield key
        cursor = page.cursor
        if cursor is None:
            return


async def find_id(services: AdminServices, name: str, *, is_admin: bool) -> UUID:
    """Return the id of the key that `name` means: its id, its public id, or the whole key."""
    try:
        return UUID(name)
    except ValueError:
        pass
    parsed = parse_key(name.encode())
    public_id = parsed.public_id if parsed else name
    if is_admin:
        admin = await services.key_repository.find_admin_by_public_id(public_id)
        found = admin.key_id if admin else None
    else:
        key = await services.key_repository.find_by_public_id(public_id)
        found = key.key_id if key else None
    if found is None:
        kind = "admin key" if is_admin else "inference key"
        raise CommandFailed(f"there is no {kind} {public_id!r}; `llm-gateway keys list` shows them")
    return found


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)
