"""Commands that serve, and what is done before and beside it."""

import os
import sys
from pathlib import Path

import rich_click as click

from app.cli.options import config_option, examples, say
from app.server.plan import Planes


@click.command(
    epilog=examples(
        "llm-gateway serve",
        "llm-gateway serve --config gateway.yaml --workers 4",
        "llm-gateway serve --plane gateway",
    )
)
@config_option
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

    sys.exit(command.run(config, planes=Planes(plane), workers=workers, build=build_application, say=say))


@click.command(
    epilog=examples(
        "llm-gateway adapter echo",
        "OPENAI_API_KEY=sk-… llm-gateway adapter openai --port 3051",
        "llm-gateway adapter claude --config gateway.yaml",
        "GATEWAY_ADAPTER_TOKEN=… llm-gateway adapter openai --host 0.0.0.0",
    )
)
@click.argument("name")
@config_option
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

    sys.exit(command.run(name, config, host=host, port=port, say=say))


def _own_probe() -> str:
    """Return the URL of the gateway of this machine, which a container moves by the variable of its port."""
    return f"http://127.0.0.1:{os.environ.get('GATEWAY_GATEWAY__PORT', '3020')}/readyz"


@click.command(epilog=examples("llm-gateway health", "llm-gateway health http://127.0.0.1:3040/readyz"))
@click.argument("url", default=_own_probe)
def health(*, url: str) -> None:
    """Ask a running gateway, admin plane or adapter whether it is ready.

    URL is that of a probe, `/readyz` or `/healthz`; by default the gateway's of this machine, at port 3020 or
    that of GATEWAY_GATEWAY__PORT. The exit code is 1 unless it answers, with 200, within three seconds.
    """
    from app.commands import health as command  # noqa: PLC0415 - only this command needs it

    say(command.run(url))


@click.command(
    epilog=examples("llm-gateway check --config gateway.yaml", "llm-gateway check --schema > gateway.schema.json")
)
@config_option
@click.option("--schema", is_flag=True, help="Print the JSON schema of the file instead, for editors.")
def check(*, config: Path | None, schema: bool) -> None:
    """Check the settings: every fault at once, with its place and a suggestion.

    Reads the file and the environment as `serve` would, opens nothing, calls nobody. Layers that are installed are
    loaded and named. The exit code is 1 if the gateway would not start; warnings alone are 0.
    """
    from app.commands import check as command  # noqa: PLC0415 - slow to import, and only this command needs it

    if schema:
        say(command.schema_text())
        return
    lines, is_usable = command.run(config)
    say("\n".join(lines))
    sys.exit(0 if is_usable else 1)


@click.command(
    epilog=examples(
        "llm-gateway migrate --config gateway.yaml",
        "GATEWAY_DATABASE=postgresql+asyncpg://u:p@db/gateway llm-gateway migrate",
    )
)
@config_option
def migrate(*, config: Path | None) -> None:
    """Bring the database's schema to the revision of this release.

    Needed for PostgreSQL, before a new release serves; the embedded SQLite file is migrated by `serve` itself. Several
    at once do no harm: an advisory lock lets one work. Migrations only add, so the old release goes on serving.
    """
    from app.commands import migrate as command  # noqa: PLC0415 - slow to import, and only this command needs it

    say(command.run(config))


@click.command(
    "rotate-kek",
    epilog=examples("GATEWAY_OLD_MASTER_SECRET=… GATEWAY_MASTER_SECRET=… llm-gateway rotate-kek --config gateway.yaml"),
)
@config_option
def rotate_kek(*, config: Path | None) -> None:
    """Put stored provider credentials under a new master secret, while gateways run, and tell what else needs the old.

    GATEWAY_OLD_MASTER_SECRET is the one before. Restart the gateways with both first: they then open what is under
    either, and carry each key over when it is used. How many were not used yet is told at the end: when they may go,
    restart the gateways without the old secret. It may be stopped and begun again. The exit code is 1 if a credential
    opens under neither.
    """
    from app.commands import rotate_kek as command  # noqa: PLC0415 - slow to import, and only this command needs it

    command.run(config, say=say)


@click.command(epilog=examples("llm-gateway openapi --plane gateway > openapi.json"))
@click.option("--plane", type=click.Choice(["gateway", "admin"]), required=True, help="Which API to describe.")
def openapi(*, plane: str) -> None:
    """Print the OpenAPI document of a plane, as the plane itself serves it at /openapi.json."""
    from app.commands import openapi as command  # noqa: PLC0415 - slow to import, and only this command needs it

    say(command.run(plane))
