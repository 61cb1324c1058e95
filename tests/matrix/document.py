"""The support matrix as a document. Law: every mark in it is what the code did, none is written by hand.

.venv/bin/python tests/matrix/document.py        writes infra/docs/support-matrix.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from app.api.wires import WIRES
from matrix.cells import CLIENTS, PROVIDERS, Cell, Client, Provider, cell, dialect_of, target_of
from matrix.features import FEATURES
from matrix.signed import FEATURE, signed_cell
from providers.errors import RequestRefused
from providers.types import EmbeddingRequest

PATH = Path(__file__).parents[2] / "infra" / "docs" / "support-matrix.md"
_MARKS = {"relayed": "=", "carried": "✓", "dropped": "-", "refused": "400", "unsayable": "", "none": ""}
_HEAD = """\
# What every client's dialect may ask of every provider

Written by `python tests/matrix/document.py` out of what the code does with one request for each feature; a test holds
it to that. Whatever a client asks is in what the provider is sent, or is listed, or is refused by name.

| mark | |
|---|---|
| = | the provider speaks the client's dialect: the bytes go through unchanged |
| ✓ | said in the provider's words |
| - | the provider has no words for it: left out, and listed in `x-gateway-dropped-params` |
| 400 | the provider has no words for it, and without it the answer would be another: refused, by the field's name |
| (empty) | the client's dialect itself has no words for it, or the vendor signs nothing |

The models that were asked for; models of one vendor differ, and the dialects know what their vendors say of that:
"""


def document() -> str:
    """Return the whole document."""
    lines = [_HEAD]
    lines += [f"- {provider.title}: `{provider.model}`" for provider in PROVIDERS]
    for client in CLIENTS:
        lines += ["", f"## {client.title}", "", *_table(client)]
    lines += ["", "## Other operations", "", *_operations()]
    return "\n".join(lines) + "\n"


def _table(client: Client) -> Iterator[str]:
    yield "| |" + "".join(f" {provider.title} |" for provider in PROVIDERS)
    yield "|---|" + "---|" * len(PROVIDERS)
    for feature in FEATURES:
        yield f"| {feature.name} |" + "".join(f" {_mark(cell(client, provider, feature))} |" for provider in PROVIDERS)
    yield f"| {FEATURE.name}, sent back |" + "".join(
        f" {_mark(signed_cell(client, provider))} |" for provider in PROVIDERS
    )


def _mark(found: Cell) -> str:
    return _MARKS[found.how]


def _operations() -> Iterator[str]:
    yield "| |" + "".join(f" {provider.title} |" for provider in PROVIDERS)
    yield "|---|" + "---|" * len(PROVIDERS)
    spoken = {client.relay for client in CLIENTS}
    for wire in WIRES:
        operation = wire.operation
        if operation.relay not in spoken:
            marks = [
                _operation_mark(
                    provider,
                    operation.relay,
                    is_translated=operation.renderer is not None,
                    is_estimated=operation.estimate is not None,
                )
                for provider in PROVIDERS
            ]
            yield f"| `{operation.endpoint}` |" + "".join(f" {mark} |" for mark in marks)


def _operation_mark(provider: Provider, relay: str, *, is_translated: bool, is_estimated: bool) -> str:
    dialect, where = dialect_of(provider.adapter, provider.options), target_of(provider)
    if relay in dialect.relays(where):
        return "="
    if is_estimated:
        return "estimated"
    if not is_translated:
        return "400"
    if relay != "openai.embeddings":
        return "✓"
    try:
        dialect.encode_embeddings(EmbeddingRequest(model="m", input=["x"], dialect="openai"), where)
    except RequestRefused:
        return "400"
    return "✓"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    print(f"wrote {PATH.name}")  # noqa: T201 - a command
