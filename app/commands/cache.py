"""`llm-gateway cache`: what is kept, how often it would have been wrong, and how it is emptied. Over the admin API."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.commands.admin_client import open_client
from app.commands.columns import aligned
from app.commands.failure import CommandFailed
from app.gateway.cache_view import CacheView, FalseHits, Purged

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that say whose cache is meant, and where it is asked for."""

    url: str | None
    organization: str | None


@dataclass(frozen=True, kw_only=True)
class Span:
    """The options that say which time is meant."""

    since: str | None
    until: str | None


def read(config: Path | None, *, asked: Asked, span: Span | None = None) -> CacheView:
    """Return the cache of an organisation; raises `CommandFailed`."""
    said = {"organization_id": asked.organization}
    if span is not None:
        said |= {"from": span.since, "to": span.until}
    client = open_client(config, url=asked.url)
    return msgspec.json.decode(client.get("/cache", _given(said)), type=CacheView)


def purge(config: Path | None, *, asked: Asked, named: Mapping[str, Any]) -> Purged:
    """Forget what is named; raises `CommandFailed`, also where nothing is."""
    if not named:
        raise CommandFailed("say what is to be purged: --id, --model, --tag or --scope; or everything, with --all")
    document = {**named, **_given({"organization_id": asked.organization})}
    client = open_client(config, url=asked.url)
    return msgspec.json.decode(client.post("/cache/purge", document), type=Purged)


def as_json(value: object) -> str:
    """Return what `--json` prints: the objects of the admin API."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def stats_text(view: CacheView) -> str:
    """Return for people what is kept, and what that was good for."""
    whose = "of the organization" if view.mode_source == "organization" else "of the settings"
    kept, use = view.kept, view.use
    head = [
        ["organization", str(view.organization_id)],
        ["mode", f"{view.mode}, {whose}; kept for {view.ttl_s} s, shared within one {view.scope}"],
        ["embedder", view.embedder.name + (f" ({view.embedder.id})" if view.embedder.id else " (not installed here)")],
        ["threshold", _threshold(view)],
        [
            "kept",
            "not known: its store does not answer"
            if kept is None
            else _kept(kept.entries, kept.size_bytes, kept.most_bytes),
        ],
        ["from", f"{use.since:%Y-%m-%dT%H:%MZ}"],
        ["to", f"{use.until:%Y-%m-%dT%H:%MZ}"],
    ]
    counts = [use.exact, use.semantic, use.coalesced, use.misses, use.bypassed]
    table = [
        ["exact", "semantic", "coalesced", "misses", "bypassed", "saved_cost"],
        [*map(str, counts), use.saved_cost],
    ]
    return f"{aligned(head, left=2)}\n\n{aligned(table, left=0)}"


def report_text(view: CacheView) -> str:
    """Return for people how often semantic hits would have been wrong."""
    shadow = view.shadow
    if shadow is None:
        raise CommandFailed("the cache's store does not answer: what was compared is not known now")
    rows = [["similarity", "compared", "agreed", "wrong"]]
    rows += [
        [f"{step.similarity:.2f}", str(step.compared), str(step.agreed), str(step.compared - step.agreed)]
        for step in shadow.steps
    ]
    target = "none is set"
    if shadow.target_false_hits is not None and shadow.target_threshold is not None:
        target = (
            f"at most {_percent(shadow.target_false_hits)} wrong asks for the threshold {shadow.target_threshold:g}"
        )
    sums = [
        ["threshold", _threshold(view)],
        ["overall", _rate(shadow.overall)],
        ["from the threshold on", _rate(shadow.from_threshold)],
        ["target", target],
    ]
    return f"{aligned(rows, left=0)}\n\n{aligned(sums, left=2)}"


def _threshold(view: CacheView) -> str:
    source = {
        "setting": "the setting's",
        "calibrated": "as calibrated for the embedder",
        "followed": "raised to keep the target",
    }[view.threshold.source]
    return f"{view.threshold.value:g}, {source}"


def _kept(entries: int, size_bytes: int, most_bytes: int) -> str:
    return f"{entries} answers, {size_bytes / _MIB:.1f} of {most_bytes / _MIB:g} MiB"


def _rate(hits: FalseHits) -> str:
    if hits.rate is None:
        return "nothing was compared"
    return (
        f"{hits.wrong} of {hits.compared} wrong: {_percent(hits.rate)}, "
        f"at most {_percent(hits.rate_at_most)} (95 % interval)"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _given(said: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in said.items() if value is not None}
