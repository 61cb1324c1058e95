"""The command line: `llm-gateway`, the same as `python -m app`.

Law: this module says what may be typed and teaches it; what a command does, and all that is slow to import, is in
`app.commands`.
"""

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import rich_click as click

from app.commands.failure import CommandFailed
from app.server.plan import Planes

_DEBUG_VARIABLE = "GATEWAY_DEBUG"
_USAGE_ERROR = 2

_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The settings. Default: $GATEWAY_CONFIG, else ./gateway.yaml if it exists, else none.",
)
_COUNT = click.IntRange(1, 9_000_000_000_000_000)

_as_json = click.option("--json", "is_json", is_flag=True, help="Print the objects of the admin API as JSON.")
_admin = click.option("--admin", "is_admin", is_flag=True, help="Admin keys instead of inference keys.")


def _examples(*lines: str) -> str:
    """Return the end of a command's help; rich-click keeps apart only what an empty line separates."""
    return "\n\n".join(["Examples:", *(f"$ {line}" for line in lines)])


def _version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's own
    """Print the version and end."""
    if not is_asked:
        return
    from app.kernel.distribution import installed_version  # noqa: PLC0415 - only this option needs it

    _say(f"llm-gateway {installed_version()}")
    context.exit()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "llm-gateway serve", "llm-gateway check --config gateway.yaml", "llm-gateway keys create --name laptop"
    ),
)
@click.option("--debug", is_flag=True, envvar=_DEBUG_VARIABLE, help="Show the stack of an error.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli(*, debug: bool) -> None:
    """One OpenAI-compatible API in front of many LLM providers.

    With no file, no server and no network at hand, `llm-gateway serve` works: it makes a SQLite database in
    ./.gateway/, prints a first key, and serves the built-in model `echo` and every provider whose usual key
    (OPENAI_API_KEY, MISTRAL_API_KEY, …) it finds in the environment.
    """
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"


@cli.command(
    epilog=_examples(
        "llm-gateway serve",
        "llm-gateway serve --config gateway.yaml --workers 4",
        "llm-gateway serve --plane gateway",
    )
)
@_config
@click.option(
    "--plane",
    type=click.Choice([str(planes) for planes in Planes]),
    default=str(Planes.ALL),
    show_default=True,
    help="What to serve here.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Gateway processes; more than one needs Redis.")
def serve(*, config: Path | None, plane: str, workers: int | None) -> None:
    """Serve the inference API on port 3020 and the admin API on port 3040.

    One parent process owns the signals; workers serve. SIGTERM drains: readiness fails, new connections are refused,
    requests in flight finish (at most `drain_s`). SIGHUP reads the settings again and applies them without a restart;
    a bad file changes nothing. Without `state: redis://…` there is one worker for everything.
    """
    from app.asgi import build_application  # noqa: PLC0415 - as below
    from app.commands import serve as command  # noqa: PLC0415 - slow to import, and only this command needs it

    sys.exit(command.run(config, planes=Planes(plane), workers=workers, build=build_application, say=_say))


@cli.command(
    epilog=_examples(
        "llm-gateway adapter echo",
        "OPENAI_API_KEY=sk-… llm-gateway adapter openai --port 3051",
        "llm-gateway adapter claude --config gateway.yaml",
        "GATEWAY_ADAPTER_TOKEN=… llm-gateway adapter openai --host 0.0.0.0",
    )
)
@click.argument("name")
@_config
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=3050, show_default=True, help="The TCP port; 0: any free one."
)
def adapter(*, name: str, config: Path | None, host: str, port: int) -> None:
    """Serve one provider's adapter as a service of its own.

    NAME is a provider of the settings, or else an adapter, whose key is read from its usual variable. A gateway calls
    the service as a provider with `adapter: native`; the lines for its file are printed. The provider's credential
    stays here. Beyond this machine the service answers only those who present GATEWAY_ADAPTER_TOKEN, which is the
    gateway's `api_key` for it. SIGTERM drains, SIGHUP reads the settings again.
    """
    from app.commands import adapter as command  # noqa: PLC0415 - slow to import, and only this command needs it

    sys.exit(command.run(name, config, host=host, port=port, say=_say))


@cli.command(epilog=_examples("llm-gateway health", "llm-gateway health http://127.0.0.1:3040/readyz"))
@click.argument("url", default="http://127.0.0.1:3020/readyz")
def health(*, url: str) -> None:
    """Ask a running gateway, admin plane or adapter whether it is ready.

    URL is that of a probe, `/readyz` or `/healthz`; by default the gateway's of this machine. The exit code is 1 unless
    it answers, with 200, within three seconds.
    """
    from app.commands import health as command  # noqa: PLC0415 - only this command needs it

    _say(command.run(url))


@cli.command(
    epilog=_examples("llm-gateway check --config gateway.yaml", "llm-gateway check --schema > gateway.schema.json")
)
@_config
@click.option("--schema", is_flag=True, help="Print the JSON schema of the file instead, for editors.")
def check(*, config: Path | None, schema: bool) -> None:
    """Check the settings: every fault at once, with its place and a suggestion.

    Reads the file and the environment as `serve` would, opens nothing, calls nobody. The exit code is 1 if the gateway
    would not start; warnings alone are 0.
    """
    from app.commands import check as command  # noqa: PLC0415 - slow to import, and only this command needs it

    if schema:
        _say(command.schema_text())
        return
    lines, is_usable = command.run(config)
    _say("\n".join(lines))
    sys.exit(0 if is_usable else 1)


@cli.command(
    epilog=_examples(
        "llm-gateway migrate --config gateway.yaml",
        "GATEWAY_DATABASE=postgresql+asyncpg://u:p@db/gateway llm-gateway migrate",
    )
)
@_config
def migrate(*, config: Path | None) -> None:
    """Bring the database's schema to the revision of this release.

    Needed for PostgreSQL, before a new release serves; the embedded SQLite file is migrated by `serve` itself. Several
    at once do no harm: an advisory lock lets one work. Migrations only add, so the old release goes on serving.
    """
    from app.commands import migrate as command  # noqa: PLC0415 - slow to import, and only this command needs it

    _say(command.run(config))


@cli.group(
    epilog=_examples(
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
    epilog=_examples(
        "llm-gateway keys create --name laptop",
        "llm-gateway keys create --name ci --models gpt-4o-mini,echo --expires-at 2027-01-31T00:00:00Z --tag team=blue",
        "llm-gateway keys create --name trial --budget 25.00 --budget-period total --rpm 60 --tpm 100000",
        "llm-gateway keys create --admin --name dashboard --role viewer",
    ),
)
@_config
@_admin
@_as_json
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
        _say(command.as_json(made))
        return
    _say(made.secret)
    click.echo(f"{made.name}: id {made.id}; keep the key above, it is not shown again.", err=True)


@keys.command("list", epilog=_examples("llm-gateway keys list", "llm-gateway keys list --admin --json"))
@_config
@_admin
@_as_json
def list_keys(*, config: Path | None, is_admin: bool, is_json: bool) -> None:
    """List keys, newest first; their secrets are not stored, so they are not shown."""
    from app.commands import keys as command  # noqa: PLC0415 - slow to import, and only this command needs it

    found = command.list_all(config, is_admin=is_admin)
    _say(command.as_json({"items": found, "cursor": None}) if is_json else command.as_table(found))


@keys.command(
    "revoke",
    epilog=_examples(
        "llm-gateway keys revoke 01980000-0000-7000-8000-000000000000",
        "llm-gateway keys revoke 0123456789",
        "llm-gateway keys revoke --admin 0123456789",
    ),
)
@_config
@_admin
@_as_json
@click.argument("key")
def revoke_key(*, config: Path | None, is_admin: bool, is_json: bool, key: str) -> None:
    """End a key for good. KEY is its id, its public id, or the whole key.

    Running workers stop accepting it within seconds.
    """
    from app.commands import keys as command  # noqa: PLC0415 - slow to import, and only this command needs it

    ended = command.revoke(config, name=key, is_admin=is_admin)
    _say(command.as_json(ended) if is_json else f"{ended.name} ({ended.public_id}) is revoked")


@cli.command(
    epilog=_examples(
        "llm-gateway usage",
        "llm-gateway usage --by key --from 2026-11-01 --to 2026-12-01",
        "llm-gateway usage --by team,model --interval day",
        "llm-gateway usage --by tag:run --json",
    )
)
@_config
@_as_json
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
    _say(command.as_json(report) if is_json else command.as_table(report))


@cli.command(
    epilog=_examples(
        "llm-gateway fanouts",
        "llm-gateway fanouts --by organization --from 2026-11-01 --to 2026-12-01",
        "llm-gateway fanouts --json",
    )
)
@_config
@_as_json
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
    _say(usage.as_json(report) if is_json else command.as_table(report))


_url = click.option(
    "--url", metavar="URL", help="The admin plane. Default: where the settings have it, on this machine."
)
_organization = click.option(
    "--organization", metavar="ID", help="Whose cache. Default: that of the key's organization, or the default one."
)


@cli.group(
    epilog=_examples(
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
    epilog=_examples(
        "llm-gateway cache stats",
        "llm-gateway cache stats --from 2026-11-01 --to 2026-12-01",
        "llm-gateway cache stats --organization 00000000-0000-7000-8000-000000000001 --json",
    ),
)
@_config
@_url
@_organization
@_as_json
@click.option("--from", "since", metavar="TIME", help="The first moment. Default: 30 days before --to.")
@click.option("--to", "until", metavar="TIME", help="The moment no longer in it. Default: the end of this hour.")
def cache_stats(*, config: Path | None, is_json: bool, since: str | None, until: str | None, **asked: Any) -> None:
    """Show what is kept, the setting and threshold in force, and what was answered and saved by it.

    TIME is a moment such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23 in UTC.
    """
    from app.commands import cache as command  # noqa: PLC0415 - slow to import, and only this command needs it

    view = command.read(config, asked=command.Asked(**asked), span=command.Span(since=since, until=until))
    _say(command.as_json(view) if is_json else command.stats_text(view))


@cache.command("report", epilog=_examples("llm-gateway cache report", "llm-gateway cache report --json"))
@_config
@_url
@_organization
@_as_json
def cache_report(*, config: Path | None, is_json: bool, **asked: Any) -> None:
    """Show how often semantic hits would have been wrong, by the similarity of the questions.

    In the mode `shadow` each would-be hit is compared with the answer that is made instead, in the mode `semantic` one
    in fifty. The report tells whether a lower threshold, or the mode `semantic`, can be dared.
    """
    from app.commands import cache as command  # noqa: PLC0415 - slow to import, and only this command needs it

    view = command.read(config, asked=command.Asked(**asked))
    _say(command.as_json(view.shadow) if is_json else command.report_text(view))


@cache.command(
    "purge",
    epilog=_examples(
        "llm-gateway cache purge --id 0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "llm-gateway cache purge --model gpt-4o-mini --tag app=search",
        "llm-gateway cache purge --scope team:01980000-0000-7000-8000-000000000000",
        "llm-gateway cache purge --all",
    ),
)
@_config
@_url
@_organization
@_as_json
@click.option("--id", "entry_id", metavar="ID", help="The x-gateway-cache-id of an answer.")
@click.option("--model", help="The public name of the model that was asked.")
@click.option("--tag", metavar="NAME=VALUE", help="A tag of the request that the answer was made for.")
@click.option("--scope", help="Who shares the answers: organization, team:ID or key:ID.")
@click.option("--all", "is_all", is_flag=True, help="Everything of the organization; stands alone.")
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
    _say(command.as_json(purged) if is_json else f"{purged.purged} purged")


_running = click.option("--running", "is_running", is_flag=True, help="Ask a running gateway, with GATEWAY_ADMIN_KEY.")


@cli.group(
    epilog=_examples(
        "llm-gateway config show",
        "llm-gateway config validate --config new.yaml --running",
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config reload",
    )
)
def config() -> None:
    """Show the effective settings, try others, and have a running gateway take them."""


@config.command(
    "show",
    epilog=_examples(
        "llm-gateway config show",
        "llm-gateway config show --config gateway.yaml --json",
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config show --running",
    ),
)
@_config
@_running
@_url
@_as_json
def show_config(*, config: Path | None, is_running: bool, url: str | None, is_json: bool) -> None:
    """Show every setting with its origin: a line of the file, a variable of the environment, or the default.

    Of secrets only whether they are set is shown. Without --running these are the settings that a gateway would begin
    with here.
    """
    from app.commands import config as command  # noqa: PLC0415 - slow to import, and only this command needs it

    view = command.show(config, is_running=is_running, url=url)
    _say(command.as_json(view) if is_json else command.view_text(view))


@config.command(
    "validate",
    epilog=_examples(
        "llm-gateway config validate --config new.yaml",
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config validate --config new.yaml --running",
    ),
)
@_config
@_running
@_url
@_as_json
def validate_config(*, config: Path | None, is_running: bool, url: str | None, is_json: bool) -> None:
    """Try a file: every fault at once with its place and a suggestion.

    With --running a gateway tries it under its own environment, and says what would change and what of that needs a
    restart; nothing changes. The exit code is 1 if the gateway would not take it.
    """
    if not is_running and url is None:
        from app.commands import check as offline  # noqa: PLC0415 - as below

        report, is_usable = offline.run_as_json(config) if is_json else offline.run(config)
        _say("\n".join(report))
        sys.exit(0 if is_usable else 1)
    from app.commands import config as command  # noqa: PLC0415 - slow to import, and only this command needs it

    checked = command.validate(config, url=url)
    _say(command.as_json(checked) if is_json else command.check_text(checked))
    sys.exit(0 if checked.valid else 1)


@config.command(
    "reload",
    epilog=_examples(
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config reload",
        "llm-gateway config reload --url https://admin.example --json",
    ),
)
@_config
@_url
@_as_json
def reload_config(*, config: Path | None, url: str | None, is_json: bool) -> None:
    """Have a running gateway read its file again, as SIGHUP does, and show what changed and where it is in force.

    A bad file changes nothing. The exit code is 1 unless every worker has confirmed it.
    """
    from app.commands import config as command  # noqa: PLC0415 - slow to import, and only this command needs it

    done = command.reload(config, url=url)
    _say(command.as_json(done) if is_json else command.reload_text(done))
    sys.exit(0 if done.applied else 1)


@cli.group(epilog=_examples("llm-gateway audit list --from 2026-11-01 --kind key", "llm-gateway audit verify"))
def audit() -> None:
    """Read who changed what, and prove that nobody has tampered with it."""


@audit.command(
    "list",
    epilog=_examples(
        "llm-gateway audit list",
        "llm-gateway audit list --actor ops --action delete --from 2026-11-01",
        "llm-gateway audit list --kind key --id 01980000-0000-7000-8000-000000000000 --json",
    ),
)
@_config
@_as_json
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
    _say(command.as_json(page) if is_json else command.as_table(page))


@audit.command("verify", epilog=_examples("llm-gateway audit verify", "llm-gateway audit verify --json"))
@_config
@_as_json
def verify_audit(*, config: Path | None, is_json: bool) -> None:
    """Walk the whole audit chain, and name the first entry that was changed, removed, put in or put elsewhere.

    Each entry has the hash of the one before it, and the last one a seal that only the master secret can make. The exit
    code is 1 if the chain is broken.
    """
    from app.commands import audit as command  # noqa: PLC0415 - slow to import, and only this command needs it

    def say_progress(done: int, total: int) -> None:
        click.echo(f"\r{done} of {total} entries", err=True, nl=done >= total)

    verdict = command.verify(config, on_progress=say_progress if sys.stderr.isatty() else lambda _done, _total: None)
    _say(command.as_json(verdict) if is_json else command.verdict_text(verdict))
    sys.exit(0 if verdict.broken is None else 1)


@cli.command(
    epilog=_examples(
        "llm-gateway explain --model gpt-4o-mini",
        "llm-gateway explain --model gpt-4o-mini --key 0123456789 --input-tokens 20000 --max-tokens 500",
        "llm-gateway explain --model gpt-4o-mini --key env:MY_GATEWAY_KEY --json",
        'llm-gateway explain --model gpt-4o-mini --key 0123456789 --prompt "What is the capital of France?"',
        "llm-gateway explain --model gpt-4o-mini --key 0123456789 --body request.json",
    )
)
@_config
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
    _say(said.as_json(explanation) if is_json else said.as_text(explanation))


@cli.command(
    epilog=_examples(
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway top",
        "llm-gateway top --url https://admin.example --gateway-url https://llm.example --key env:MY_ADMIN_KEY",
        "llm-gateway top --once --json",
    )
)
@_config
@_url
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
        _say(command.as_json(view) if is_json else screen.as_text(view))
        return
    screen.watch(command.Watch(config, asked=asked), interval_s=interval_s)


@cli.command(
    "rotate-kek",
    epilog=_examples(
        "GATEWAY_OLD_MASTER_SECRET=… GATEWAY_MASTER_SECRET=… llm-gateway rotate-kek --config gateway.yaml"
    ),
)
@_config
def rotate_kek(*, config: Path | None) -> None:
    """Put stored provider credentials under a new master secret, while gateways run.

    GATEWAY_OLD_MASTER_SECRET is the one before. Restart the gateways with both first: they then open what is under
    either. It may be stopped and begun again. The exit code is 1 if a credential opens under neither.
    """
    from app.commands import rotate_kek as command  # noqa: PLC0415 - slow to import, and only this command needs it

    command.run(config, say=_say)


@cli.group(
    "import",
    epilog=_examples("llm-gateway import litellm config.yaml --output gateway.yaml"),
)
def import_() -> None:
    """Write a gateway.yaml for the configuration of another gateway."""


@import_.command(
    "litellm",
    epilog=_examples(
        "llm-gateway import litellm config.yaml",
        "llm-gateway import litellm config.yaml --output gateway.yaml",
        "llm-gateway import litellm config.yaml --strict > gateway.yaml",
    ),
)
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.yaml")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write. Default: the screen.")
@click.option("--force", "is_forced", is_flag=True, help="Replace the file if it exists.")
@click.option("--strict", "is_strict", is_flag=True, help="Exit with 1 if something could not be carried over.")
def import_litellm(*, config: Path, output: Path | None, is_forced: bool, is_strict: bool) -> None:
    """Write a gateway.yaml for the config.yaml of a LiteLLM proxy.

    Models, providers, routing, fallbacks, prices, clocks, the cache and the budget are carried over. What has no equal
    here is listed with its path and the reason, on standard error and at the end of the file. Secrets are not copied:
    `os.environ/NAME` becomes `env:NAME`, and for a key that is written out the report names the variable to put it in.
    Keys, teams and usage in LiteLLM's database are not read. The exit code is 1 if the file cannot be read.
    """
    from app.commands import import_litellm as command  # noqa: PLC0415 - slow to import, and only this command needs it

    imported = command.run(config)
    if output is None:
        _say(imported.text.rstrip())
    else:
        command.write(imported, output, replaces=is_forced)
    click.echo("\n".join(imported.report), err=True)
    sys.exit(1 if is_strict and imported.has_losses else 0)


@cli.command(epilog=_examples("llm-gateway openapi --plane gateway > openapi.json"))
@click.option("--plane", type=click.Choice(["gateway", "admin"]), required=True, help="Which API to describe.")
def openapi(*, plane: str) -> None:
    """Print the OpenAPI document of a plane, as the plane itself serves it at /openapi.json."""
    from app.commands import openapi as command  # noqa: PLC0415 - slow to import, and only this command needs it

    _say(command.run(plane))


def main() -> None:
    """Run the command; errors are one clear text on standard error."""
    try:
        cli.main(prog_name="llm-gateway", standalone_mode=False)
    except click.UsageError as error:
        _fail(_usage(error), code=_USAGE_ERROR)
    except click.ClickException as error:
        _fail(error.format_message(), code=1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except CommandFailed as error:
        if _is_debug():
            raise
        _fail(str(error), code=1)
    except Exception as error:
        if _is_debug():
            raise
        _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", code=1)


def _usage(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx else "llm-gateway"
    return f"{error.format_message()}\nTry `{command} --help`."


def _is_debug() -> bool:
    return bool(os.environ.get(_DEBUG_VARIABLE))


def _say(text: str) -> None:
    click.echo(text)


def _fail(text: str, *, code: int) -> None:
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)


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
