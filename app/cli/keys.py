"""Commands that make, list and revoke keys."""

from pathlib import Path
from typing import Any

import rich_click as click

from app.cli.options import as_json, config_option, examples, say

_COUNT = click.IntRange(1, 9_000_000_000_000_000)
_admin = click.option("--admin", "is_admin", is_flag=True, help="Admin keys instead of inference keys.")


@click.group(
    epilog=examples(
        "llm-gateway keys create --name laptop",
        "llm-gateway keys create --admin --name ops --role admin",
        "llm-gateway keys list --json",
        "llm-gateway keys revoke 0123456789",
    )
)
def keys() -> None:
    """Make, list and revoke keys: the admin API's services, for whoever has the database."""


@keys.command(
    "create",
    epilog=examples(
        "llm-gateway keys create --name laptop",
        "llm-gateway keys create --name ci --models gpt-4o-mini,echo --expires-at 2027-01-31T00:00:00Z --tag team=blue",
        "llm-gateway keys create --name trial --budget 25.00 --budget-period total --rpm 60 --tpm 100000",
        "llm-gateway keys create --admin --name dashboard --role viewer",
    ),
)
@config_option
@_admin
@as_json
@click.option("--name", required=True, help="What the key is for; shown to people.")
@click.option("--team", metavar="ID", help="The team it belongs to; without one, the default organisation.")
@click.option("--organization", metavar="ID", help="The organisation it belongs to; of an admin key, its limit.")
@click.option("--models", metavar="A,B", help="The only models it may use; without this, all.")
@click.option("--expires-at", metavar="TIME", help="When it ends, such as 2027-01-31T00:00:00Z; without this, never.")
@click.option("--may-route", is_flag=True, help="Obey x-gateway-route, which names a provider directly.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A label for usage reports; repeatable.")
@click.option("--budget", metavar="USD", help="The most that it may spend in a period, such as 25.00.")
@click.option(
    "--budget-period",
    type=click.Choice(["day", "week", "month", "total"]),
    help="When its budget starts anew; total: never. Default: month.",
)
@click.option("--budget-timezone", metavar="ZONE", help="Whose midnight begins a period. Default: UTC.")
@click.option("--rpm", type=_COUNT, metavar="N", help="Requests in any minute.")
@click.option("--tpm", type=_COUNT, metavar="N", help="Tokens, in and out, in any minute.")
@click.option("--concurrency", type=_COUNT, metavar="N", help="Requests in flight at once.")
@click.option("--max-output-tokens", type=_COUNT, metavar="N", help="The most output tokens of one answer.")
@click.option("--role", type=click.Choice(["owner", "admin", "viewer"]), help="Of an admin key. Default: owner.")
def create_key(*, config: Path | None, is_admin: bool, is_json: bool, **options: Any) -> None:
    """Make a key and print its secret, which is not shown again."""
    from app.commands import keys as command  # noqa: PLC0415 - slow to import, and only this command needs it

    fields = {
        "name": options["name"],
        "team_id": options["team"],
        "organization_id": options["organization"],
        "models": _names(options["models"]),
        "expires_at": options["expires_at"],
        "may_route": options["may_route"],
        "tags": _pairs(options["tags"]),
        "budget": _given(amount="budget", period="budget_period", timezone="budget_timezone", among=options),
        "limits": _given(
            requests_per_minute="rpm",
            tokens_per_minute="tpm",
            concurrency="concurrency",
            max_output_tokens="max_output_tokens",
            among=options,
        ),
        "role": options["role"] or ("owner" if is_admin else None),
    }
    made = command.create(config, spec=command.NewKeySpec(is_admin=is_admin, fields=fields))
    if is_json:
        say(command.as_json(made))
        return
    say(made.secret)
    click.echo(f"{made.name}: id {made.id}; keep the key above, it is not shown again.", err=True)


@keys.command("list", epilog=examples("llm-gateway keys list", "llm-gateway keys list --admin --json"))
@config_option
@_admin
@as_json
def list_keys(*, config: Path | None, is_admin: bool, is_json: bool) -> None:
    """List keys, newest first; their secrets are not stored, so they are not shown."""
    from app.commands import keys as command  # noqa: PLC0415 - slow to import, and only this command needs it

    found = command.list_all(config, is_admin=is_admin)
    say(command.as_json({"items": found, "cursor": None}) if is_json else command.as_table(found))


@keys.command(
    "revoke",
    epilog=examples(
        "llm-gateway keys revoke 01980000-0000-7000-8000-000000000000",
        "llm-gateway keys revoke 0123456789",
        "llm-gateway keys revoke --admin 0123456789",
    ),
)
@config_option
@_admin
@as_json
@click.argument("key")
def revoke_key(*, config: Path | None, is_admin: bool, is_json: bool, key: str) -> None:
    """End a key for good. KEY is its id, its public id, or the whole key.

    Running workers stop accepting it within seconds.
    """
    from app.commands import keys as command  # noqa: PLC0415 - slow to import, and only this command needs it

    ended = command.revoke(config, name=key, is_admin=is_admin)
    say(command.as_json(ended) if is_json else f"{ended.name} ({ended.public_id}) is revoked")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _given(*, among: dict[str, Any], **options: str) -> dict[str, Any]:
    """Return the fields whose options were typed, by the name of the field."""
    return {name: among[option] for name, option in options.items() if among[option] is not None}


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise click.UsageError(f"--tag {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs
