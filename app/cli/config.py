"""Commands that show, try and reload the settings."""

import sys
from pathlib import Path

import rich_click as click

from app.cli.options import as_json, config_option, examples, say, url_option

_running = click.option("--running", "is_running", is_flag=True, help="Ask a running gateway, with GATEWAY_ADMIN_KEY.")


@click.group(
    epilog=examples(
        "llm-gateway config show",
        "llm-gateway config validate --config new.yaml --running",
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config reload",
    )
)
def config() -> None:
    """Show the effective settings, try others, and have a running gateway take them."""


@config.command(
    "show",
    epilog=examples(
        "llm-gateway config show",
        "llm-gateway config show --config gateway.yaml --json",
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config show --running",
    ),
)
@config_option
@_running
@url_option
@as_json
def show_config(*, config: Path | None, is_running: bool, url: str | None, is_json: bool) -> None:
    """Show every setting with its origin: a line of the file, a variable of the environment, or the default.

    Of secrets only whether they are set is shown. Without --running these are the settings that a gateway would begin
    with here.
    """
    from app.commands import config as command  # noqa: PLC0415 - slow to import, and only this command needs it

    view = command.show(config, is_running=is_running, url=url)
    say(command.as_json(view) if is_json else command.view_text(view))


@config.command(
    "validate",
    epilog=examples(
        "llm-gateway config validate --config new.yaml",
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config validate --config new.yaml --running",
    ),
)
@config_option
@_running
@url_option
@as_json
def validate_config(*, config: Path | None, is_running: bool, url: str | None, is_json: bool) -> None:
    """Try a file: every fault at once with its place and a suggestion.

    With --running a gateway tries it under its own environment, and says what would change and what of that needs a
    restart; nothing changes. The exit code is 1 if the gateway would not take it.
    """
    if not is_running and url is None:
        from app.commands import check as offline  # noqa: PLC0415 - as below

        report, is_usable = offline.run_as_json(config) if is_json else offline.run(config)
        say("\n".join(report))
        sys.exit(0 if is_usable else 1)
    from app.commands import config as command  # noqa: PLC0415 - slow to import, and only this command needs it

    checked = command.validate(config, url=url)
    say(command.as_json(checked) if is_json else command.check_text(checked))
    sys.exit(0 if checked.valid else 1)


@config.command(
    "reload",
    epilog=examples(
        "GATEWAY_ADMIN_KEY=sk-gw-admin-… llm-gateway config reload",
        "llm-gateway config reload --url https://admin.example --json",
    ),
)
@config_option
@url_option
@as_json
def reload_config(*, config: Path | None, url: str | None, is_json: bool) -> None:
    """Have a running gateway read its file again, as SIGHUP does, and show what changed and where it is in force.

    A bad file changes nothing. The exit code is 1 unless every worker has confirmed it.
    """
    from app.commands import config as command  # noqa: PLC0415 - slow to import, and only this command needs it

    done = command.reload(config, url=url)
    say(command.as_json(done) if is_json else command.reload_text(done))
    sys.exit(0 if done.applied else 1)
