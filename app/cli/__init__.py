"""The command line: `llm-gateway`, the same as `python -m app`.

Law: this package says what may be typed and teaches it; what a command does, and all that is slow to import, is in
`app.commands`.
"""

import os
import sys

import rich_click as click

from app.cli.audit import audit
from app.cli.cache import cache
from app.cli.config import config
from app.cli.importing import import_
from app.cli.keys import keys
from app.cli.options import examples, say
from app.cli.reports import explain, fanouts, top, usage
from app.cli.serving import adapter, check, health, migrate, openapi, rotate_kek, serve
from app.commands.failure import CommandFailed

_DEBUG_VARIABLE = "GATEWAY_DEBUG"
_USAGE_ERROR = 2


def _version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's own
    """Print the version and end."""
    if not is_asked:
        return
    from app.kernel.distribution import installed_version  # noqa: PLC0415 - only this option needs it

    say(f"llm-gateway {installed_version()}")
    context.exit()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
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


_SINGLE = (serve, adapter, health, check, migrate, usage, fanouts, explain, top, rotate_kek, openapi)
for _command in (*_SINGLE, keys, cache, config, audit, import_):
    cli.add_command(_command)


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


def _fail(text: str, *, code: int) -> None:
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)
