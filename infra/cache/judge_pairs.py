"""How often pairs of prompts would share an answer: by cosine alone, and with the deterministic guards.

    .venv/bin/python infra/cache/judge_pairs.py FILE [--threshold 0.x] [--show KIND] [--quarter in|out]

`FILE` has a JSON object a line: `group`, `kind`, `a`, `b`. Of `paraphrase` a hit is wanted, of every other kind it is
false. Printed per kind: pairs, hits by cosine, hits with guards, the rate with the upper bound of its two-sided 95 %
interval (Clopper-Pearson), and which guard refused how many.
`--show` prints what the guards decided wrongly of a kind; `--quarter` keeps to, or leaves out, a quarter of the groups.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from app.cache.confidence import upper_bound
from app.cache.embedding import StaticEmbedder, cosine
from app.cache.guards import Evidence, differ

WANTED: Final = "paraphrase"
ALL_NEGATIVES: Final = "all negatives"
_QUARTERS: Final = 4


class Pair(NamedTuple):
    """Two prompts, and what sets them apart."""

    group: str
    kind: str
    a: str
    b: str


class Judged(NamedTuple):
    """A pair, whether its embeddings are near, and which guard objects."""

    pair: Pair
    is_near: bool
    guard: str | None

    @property
    def is_hit(self) -> bool:
        """Whether the two would share an answer."""
        return self.is_near and self.guard is None


def read_pairs(path: Path) -> Iterator[Pair]:
    """Yield the pairs of a file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield Pair(str(row["group"]), row["kind"], row["a"], row["b"])


def in_quarter(group: str) -> bool:
    """Tell whether a group is in the quarter that is kept from tuning."""
    return blake2b(group.encode()).digest()[0] % _QUARTERS == 0


async def near_pairs(pairs: list[Pair], threshold: float) -> list[bool]:
    """Return of each pair whether the embeddings are at least so near."""
    embedder = StaticEmbedder()
    vectors = {text: await embedder.embed(text) for pair in pairs for text in (pair.a, pair.b)}
    return [cosine(vectors[pair.a], vectors[pair.b]) >= threshold for pair in pairs]


def report(judged: list[Judged]) -> None:
    """Print the table: a line a kind, and one for all negatives."""
    kinds = {
        kind: [one for one in judged if one.pair.kind == kind] for kind in sorted({one.pair.kind for one in judged})
    }
    kinds[ALL_NEGATIVES] = [one for one in judged if one.pair.kind != WANTED]
    print(f"{'kind':20} {'pairs':>6} {'cosine':>7} {'guarded':>8} {'rate':>8} {'<= 95 %':>8}  refused by")
    for kind, ones in kinds.items():
        if not ones:
            continue
        hits = sum(one.is_hit for one in ones)
        refused = Counter(one.guard for one in ones if one.is_near and one.guard is not None)
        counts = " ".join(f"{name}:{count}" for name, count in refused.most_common())
        print(
            f"{kind:20} {len(ones):6} {sum(one.is_near for one in ones):7} {hits:8} {hits / len(ones):8.2%}"
            f" {upper_bound(hits, len(ones)):8.2%}  {counts}"
        )


def show(judged: list[Judged], kind: str) -> None:
    """Print the pairs of a kind that were decided wrongly."""
    for one in judged:
        if one.pair.kind == kind and one.is_near and one.is_hit != (kind == WANTED):
            print(f"{one.guard or 'hit'}\t{one.pair.a}\t{one.pair.b}")


def main() -> int:
    """Judge a file of pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threshold", type=float, default=-1.0)
    parser.add_argument("--show", default=None)
    parser.add_argument("--quarter", choices=("in", "out"), default=None)
    asked = parser.parse_args()
    pairs = [
        pair
        for pair in read_pairs(asked.file)
        if asked.quarter is None or in_quarter(pair.group) == (asked.quarter == "in")
    ]
    evidence = Evidence(StaticEmbedder())
    near = asyncio.run(near_pairs(pairs, asked.threshold))
    judged = [
        Judged(pair, is_near, differ(pair.a, pair.b, evidence=evidence))
        for pair, is_near in zip(pairs, near, strict=True)
    ]
    report(judged)
    if asked.show is not None:
        show(judged, asked.show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
