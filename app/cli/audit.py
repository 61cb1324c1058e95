"""Commands that read the audit chain, and prove it."""

import sys
from pathlib import Path
from typing import Any

import rich_click as click

from app.cli.options import as_json, config_option, examples, say


@click.group(epilog=examples("llm-gateway audit list --from 2026-11-01 --kind key", "llm-gateway audit verify"))
def audit() -> None:
    """Read who changed what, and prove that nobody has tampered with it."""


@audit.command(
    "list",
    epilog=examples(
        "llm-gateway audit list",
        "llm-gateway audit list --actor ops --action delete --from 2026-11-01",
        "llm-gateway audit list --kind key --id 01980000-0000-7000-8000-000000000000 --json",
    ),
)
@config_option
@as_json
@click.option("--actor", metavar="NAME", help="The id or the name of who acted.")
@click.option("--action", metavar="NAME", help="Such as create, update, delete, revoke, rotate, purge, reload.")
@click.option("--kind", metavar="NAME", help="Such as organization, team, key, admin_key, price, cache, config.")
@click.option("--id", "object_id", metavar="ID", help="What was changed.")
@click.option("--from", "since", metavar="TIME", help="The first moment.")
@click.option("--to", "until", metavar="TIME", help="The moment no longer in it.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
def list_audit(*, config: Path | None, is_json: bool, **options: Any) -> None:
    """List changes, newest first.

    TIME is a moment such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23 in UTC.
    """
    from app.commands import audit as command  # noqa: PLC0415 - slow to import, and only this command needs it

    page = command.list_entries(config, asked=command.Asked(**options))
    say(command.as_json(page) if is_json else command.as_table(page))


@audit.command("verify", epilog=examples("llm-gateway audit verify", "llm-gateway audit verify --json"))
@config_option
@as_json
def verify_audit(*, config: Path | None, is_json: bool) -> None:
    """Walk the whole audit chain, and name the first entry that was changed, removed, put in or put elsewhere.

    Each entry has the hash of the one before it, and the last one a seal that only the master secret can make. The exit
    code is 1 if the chain is broken.
    """
    from app.commands import audit as command  # noqa: PLC0415 - slow to import, and only this command needs it

    def say_progress(done: int, total: int) -> None:
        click.echo(f"\r{done} of {total} entries", err=True, nl=done >= total)

    verdict = command.verify(config, on_progress=say_progress if sys.stderr.isatty() else lambda _done, _total: None)
    say(command.as_json(verdict) if is_json else command.verdict_text(verdict))
    sys.exit(0 if verdict.broken is None else 1)
