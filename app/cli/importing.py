"""Commands that take over the settings of other gateways."""

import sys
from pathlib import Path

import rich_click as click

from app.cli.options import examples, say

_SCREEN = Path("-")


@click.group(
    "import",
    epilog=examples("llm-gateway import litellm config.yaml"),
)
def import_() -> None:
    """Write a gateway.yaml for the configuration of another gateway."""


@import_.command(
    "litellm",
    epilog=examples(
        "llm-gateway import litellm config.yaml",
        "llm-gateway import litellm config.yaml --output new/gateway.yaml --force",
        "llm-gateway import litellm config.yaml --strict --output - | less",
    ),
)
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.yaml")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write; - shows it only. Default: gateway.yaml, which is shown as well.",
)
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
    if output != _SCREEN:
        command.write(imported, output, replaces=is_forced)
    if output in {None, _SCREEN}:
        say(imported.text.rstrip())
    click.echo("\n".join(imported.report), err=True)
    sys.exit(1 if is_strict and imported.has_losses else 0)
