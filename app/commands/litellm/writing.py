"""Prints the file, a section at a time, each with a word on it. Law: what `check` reads back is what was meant."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from app.commands.litellm.report import Report

_WIDTH = 120
_WORDS = {
    "state": "What is shared and volatile.",
    "providers": "Accounts at vendors. Secrets are not here but referred to, as env:NAME or file:/path.",
    "models": "Public model names, and what serves them.",
    "cache": "Whether answers are kept and given again.",
    "budget": "What each organisation may spend, in USD.",
}


def file_text(file: Mapping[str, Any], *, source: str, report: Report) -> str:
    """Return the YAML text of the file, with the report as comments at its end."""
    return "\n".join([*_lines(file, source=source, report=report), ""])


def _lines(file: Mapping[str, Any], *, source: str, report: Report) -> Iterator[str]:
    yield f"# Written by `llm-gateway import litellm {source}`. `llm-gateway check --config FILE` checks it."
    yield "# Every key that a file may have is in infra/config/gateway.full.yaml."
    for name, section in file.items():
        if section:
            yield ""
            yield f"# {_WORDS[name]}"
            yield _dumped({name: section}).rstrip()
    findings = [*report.lines()]
    if findings:
        yield ""
        yield from (f"# {line}".rstrip() for line in findings)


class _Dumper(yaml.SafeDumper):
    """Writes no anchors: an alias of a model is a model."""

    def ignore_aliases(self, data: Any) -> bool:
        """Tell that nothing is written as an alias."""
        del data
        return True


def _dumped(section: Mapping[str, Any]) -> str:
    is_scalar = not any(isinstance(value, dict) for value in section.values())
    text: str = yaml.dump(
        section,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False if is_scalar else None,
        allow_unicode=True,
        width=_WIDTH,
    )
    return text
