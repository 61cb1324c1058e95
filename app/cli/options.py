"""What many commands have in common: options, examples, and how they speak."""

from pathlib import Path

import rich_click as click

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The settings. Default: $GATEWAY_CONFIG, else ./gateway.yaml if it exists, else none.",
)
as_json = click.option("--json", "is_json", is_flag=True, help="Print the objects of the admin API as JSON.")
url_option = click.option(
    "--url", metavar="URL", help="The admin plane. Default: where the settings have it, on this machine."
)


def examples(*lines: str) -> str:
    """Return the end of a command's help; rich-click keeps apart only what an empty line separates."""
    return "\n\n".join(["Examples:", *(f"$ {line}" for line in lines)])


def say(text: str) -> None:
    """Print what a command has to say."""
    click.echo(text)
