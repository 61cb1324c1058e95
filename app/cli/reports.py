"""Commands that show what was used, what would be done, and what goes on."""

from pathlib import Path
from typing import Any, BinaryIO

import rich_click as click

from app.cli.options import as_json, config_option, examples, say, url_option


@click.command(
    epilog=examples(
        "llm-gateway usage",
        "llm-gateway usage --by key --from 2026-11-01 --to 2026-12-01",
        "llm-gateway usage --by team,model --interval day",
        "llm-gateway usage --by tag:run --json",
    )
)
@config_option
@as_json
@click.option(
    "--by",
    "group_by",
    default="model",
    show_default=True,
    metavar="A,B",
    help="What to group by: model, provider, key, team, organization, tag:NAME.",
)
@click.option("--from", "since", metavar="TIME", help="The first moment. Default: 30 days before --to.")
@click.option("--to", "until", metavar="TIME", help="The moment no longer in it. Default: the end of this hour.")
@click.option(
    "--interval",
    type=click.Choice(["hour", "day", "none"]),
    default="none",
    show_default=True,
    help="A row for each hour or day in UTC.",
)
def usage(*, config: Path | None, is_json: bool, **options: Any) -> None:
    """Show what was used and what it cost, in USD.

    TIME is a moment such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23 in UTC. Requests are counted, not
    attempts; both ends of the time are exact.
    """
    from app.commands import usage as command  # noqa: PLC0415 - slow to import, and only this command needs it

    report = command.run(config, asked=command.Asked(**options))
    say(command.as_json(report) if is_json else command.as_table(report))


@click.command(
    epilog=examples(
        "llm-gateway fanouts",
        "llm-gateway fanouts --by organization --from 2026-11-01 --to 2026-12-01",
        "llm-gateway fanouts --json",
    )
)
@config_option
@as_json
@click.option("--by", "group_by", metavar="A,B", help="Group by more: provider, key, team, organization, tag:NAME.")
@click.option("--from", "since", metavar="TIME", help="The first moment. Default: 30 days before --to.")
@click.option("--to", "until", metavar="TIME", help="The moment no longer in it. Default: the end of this hour.")
def fanouts(*, config: Path | None, is_json: bool, **options: Any) -> None:
    """Show which model wins when several are asked, how fast each is, and what that costs in USD.

    TIME is a moment such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23 in UTC.
    """
    from app.commands import fanouts as command  # noqa: PLC0415 - slow to import, and only this command needs it
    from app.commands import usage  # noqa: PLC0415 - as above

    report = command.run(config, asked=usage.Asked(**options))
    say(usage.as_json(report) if is_json else command.as_table(report))


@click.command(
    epilog=examples(
        "llm-gateway explain --model gpt-4o-mini",
        "llm-gateway explain --model gpt-4o-mini --key 0123456789 --input-tokens 20000 --max-tokens 500",
        "llm-gateway explain --model gpt-4o-mini --key env:MY_GATEWAY_KEY --json",
        'llm-gateway explain --model gpt-4o-mini --key 0123456789 --prompt "What is the capital of France?"',
        "llm-gateway explain --model gpt-4o-mini --key 0123456789 --body request.json",
    )
)
@config_option
@click.option("--model", required=True, help="The public name of a model, or provider/model.")
@click.option("--key", help="An inference key: its id, its public id, the key itself, or env:NAME. Default: nobody's.")
@click.option("--prompt", metavar="TEXT", help="What the user says; the cache is looked up for it.")
@click.option(
    "--body",
    type=click.File("rb"),
    metavar="FILE",
    help="A chat request as JSON, `-` for standard input; --model and other options win over it.",
)
@click.option(
    "--input-tokens", type=click.IntRange(1, 10_000_000), help="Of the example. Default: 1000, or what its text has."
)
@click.option("--max-tokens", type=click.IntRange(1, 10_000_000), help="What the example asks for. Default: nothing.")
@click.option("--stream/--no-stream", default=True, show_default=True, help="Whether it wants a stream.")
@click.option("--session", metavar="NAME", help="Its x-gateway-session, for models with `sticky: session`.")
@click.option("--json", "is_json", is_flag=True, help="Print the explanation as JSON.")
def explain(*, config: Path | None, key: str | None, is_json: bool, body: BinaryIO | None, **options: Any) -> None:
    """Show how a request would be admitted, answered from the cache, routed and priced.

    It reads the settings, the database and, if there is one, Redis, as a worker would, holds nothing and calls nobody.
    Without a key, nothing binds the request. The order of targets is that of one draw: another may come out otherwise.
    A request that would be refused is an answer too: the exit code is 0.
    """
    from app.api.explaining import Example  # noqa: PLC0415 - as below
    from app.commands import explain as command  # noqa: PLC0415 - slow to import, and only this command needs it
    from app.commands import explain_text as said  # noqa: PLC0415 - as above

    document = None if body is None else command.read_body(body.read())
    explanation = command.run(config, example=Example(**options, body=document), key=key)
    say(said.as_json(explanation) if is_json else said.as_text(explanation))


@click.command(
    epilog=examples(
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway top",
        "llm-gateway top --url https://admin.example --gateway-url https://llm.example --key env:MY_ADMIN_KEY",
        "llm-gateway top --once --json",
    )
)
@config_option
@url_option
@click.option("--gateway-url", metavar="URL", help="The gateway plane. Default: `admin.gateway_url` of the settings.")
@click.option("--key", help="An admin key, better as env:NAME than typed. Default: GATEWAY_ADMIN_KEY.")
@click.option("--interval", "interval_s", type=click.FloatRange(0.2, 60), default=2, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Look for one interval, print, and end; for scripts.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON; with --once.")
def top(*, config: Path | None, interval_s: float, once: bool, is_json: bool, **options: Any) -> None:
    """Watch a running gateway: traffic, latency, spend, tokens, cache, breakers, limits, open streams.

    Rates are those of the last interval, totals those since the gateway was started. Numbers are read from /metrics of
    the gateway plane, which adds up all its workers, breakers and stores from the admin API, for which the key needs a
    role on the installation. Ctrl-C ends.
    """
    if is_json and not once:
        raise click.UsageError("--json goes with --once")
    from app.commands import top as command  # noqa: PLC0415 - slow to import, and only this command needs it
    from app.commands import top_screen as screen  # noqa: PLC0415 - as above

    asked = command.Asked(**options)
    if once:
        view = command.once(config, asked=asked, interval_s=interval_s)
        say(command.as_json(view) if is_json else screen.as_text(view))
        return
    screen.watch(command.Watch(config, asked=asked), interval_s=interval_s)
