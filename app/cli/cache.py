"""Commands that look at the cache, and empty it."""

from pathlib import Path
from typing import Any

import rich_click as click

from app.cli.options import as_json, config_option, examples, say, url_option

_organization = click.option(
    "--organization", metavar="ID", help="Whose cache. Default: that of the key's organization, or the default one."
)


@click.group(
    epilog=examples(
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway cache stats",
        "llm-gateway cache report",
        "llm-gateway cache purge --model gpt-4o-mini",
    )
)
def cache() -> None:
    """Look at the cache of a running gateway, and empty it.

    These commands ask the admin plane, with the admin key in GATEWAY_ADMIN_KEY.
    """


@cache.command(
    "stats",
    epilog=examples(
        "llm-gateway cache stats",
        "llm-gateway cache stats --from 2026-11-01 --to 2026-12-01",
        "llm-gateway cache stats --organization 00000000-0000-7000-8000-000000000001 --json",
    ),
)
@config_option
@url_option
@_organization
@as_json
@click.option("--from", "since", metavar="TIME", help="The first moment. Default: 30 days before --to.")
@click.option("--to", "until", metavar="TIME", help="The moment no longer in it. Default: the end of this hour.")
def cache_stats(*, config: Path | None, is_json: bool, since: str | None, until: str | None, **asked: Any) -> None:
    """Show what is kept, the setting and threshold in force, and what was answered and saved by it.

    TIME is a moment such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23 in UTC.
    """
    from app.commands import cache as command  # noqa: PLC0415 - slow to import, and only this command needs it

    view = command.read(config, asked=command.Asked(**asked), span=command.Span(since=since, until=until))
    say(command.as_json(view) if is_json else command.stats_text(view))


@cache.command("report", epilog=examples("llm-gateway cache report", "llm-gateway cache report --json"))
@config_option
@url_option
@_organization
@as_json
def cache_report(*, config: Path | None, is_json: bool, **asked: Any) -> None:
    """Show how often semantic hits would have been wrong, by the similarity of the questions.

    In the mode `shadow` each would-be hit is compared with the answer that is made instead, in the mode `semantic` one
    in fifty. The report tells whether a lower threshold, or the mode `semantic`, can be dared.
    """
    from app.commands import cache as command  # noqa: PLC0415 - slow to import, and only this command needs it

    view = command.read(config, asked=command.Asked(**asked))
    say(command.as_json(view.shadow) if is_json else command.report_text(view))


@cache.command(
    "purge",
    epilog=examples(
        "llm-gateway cache purge --id 0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "llm-gateway cache purge --model gpt-4o-mini --tag app=search",
        "llm-gateway cache purge --scope team:01980000-0000-7000-8000-000000000000",
        "llm-gateway cache purge --all",
    ),
)
@config_option
@url_option
@click.option(
    "--organization", metavar="ID", help="Whose cache. Default: that of the key's organization, or that of all."
)
@as_json
@click.option("--id", metavar="ID", help="The x-gateway-cache-id of an answer.")
@click.option("--model", help="The public name of the model that was asked.")
@click.option("--tag", metavar="NAME=VALUE", help="A tag of the request that the answer was made for.")
@click.option("--scope", help="Who shares the answers: organization, team:ID or key:ID.")
@click.option("--all", "is_all", is_flag=True, help="Everything; stands alone.")
def cache_purge(
    *, config: Path | None, is_json: bool, url: str | None, organization: str | None, is_all: bool, **named: Any
) -> None:
    """Forget answers: those that match all that is named.

    From then on no worker gives them; each request is answered anew.
    """
    from app.commands import cache as command  # noqa: PLC0415 - slow to import, and only this command needs it

    said = {name: value for name, value in named.items() if value is not None} | ({"all": True} if is_all else {})
    asked = command.Asked(url=url, organization=organization)
    purged = command.purge(config, asked=asked, named=said)
    say(command.as_json(purged) if is_json else f"{purged.purged} purged")
