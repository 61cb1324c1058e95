"""Fits the weights by which texts are taken to be the same in other words: `app/cache/guards/data/evidence.toml`.

    .venv/bin/python infra/cache/fit_evidence.py tests/acceptance/cache/pairs/tuning.jsonl [--allow 2]

A logistic regression (Newton's method, an L2 penalty) over the pairs that no guard about facts tells apart: labelled
ones, and of every text its nearest neighbours of other groups, which are about something else. The bar is where, with
each group judged by weights that have not seen it (ten folds, five shuffles), `--allow` pairs would be false hits. No
dependency; takes about a minute. The sealed half of the pairs is not for this.
"""

import argparse
import asyncio
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.cache.embedding import StaticEmbedder, Vector, cosine
from app.cache.guards.evidence import SIGNS, Evidence
from app.cache.guards.features import features_of
from app.cache.guards.verdict import GUARDS, OF_WORDING

FOLDS: Final = 10
SHUFFLES: Final = 5
NEIGHBOURS: Final = 8
PENALTY: Final = 2.0
STEPS: Final = 25
NOTHING: Final = 1e-9
DATA: Final = Path(__file__).resolve().parents[2] / "app" / "cache" / "guards" / "data" / "evidence.toml"


class Weighed(NamedTuple):
    """The signs of a pair, its group, and whether one answer does for both."""

    signs: tuple[float, ...]
    group: str
    is_same: bool


def main() -> int:
    """Write the weights; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--allow", type=int, default=2, help="how many false hits the bar lets through")
    asked = parser.parse_args()
    lines = [json.loads(line) for line in asked.file.read_text(encoding="utf-8").splitlines()]
    pairs = asyncio.run(_pairs(lines))
    bars, hits = zip(*(_bar(pairs, seed=seed, allow=asked.allow) for seed in range(SHUFFLES)), strict=True)
    fitted = fit(pairs)
    bar = sorted(bars)[SHUFFLES // 2]
    print(f"{len(pairs)} pairs, {sum(pair.is_same for pair in pairs)} the same; unseen, {hits} of them pass")
    DATA.write_text(_written(*fitted, bar), encoding="utf-8")
    print(DATA.read_text(encoding="utf-8"))
    return 0


async def _pairs(lines: Sequence[dict[str, str]]) -> list[Weighed]:
    embedder = StaticEmbedder()
    evidence = Evidence(embedder)
    found = []

    def add(one: str, other: str, group: str, *, is_same: bool) -> None:
        texts = (min(one, other), max(one, other))
        features = (features_of(texts[0]), features_of(texts[1]))
        objections = {name for name, objects in GUARDS.items() if objects(*features)}
        signs = evidence.signs(texts, features) if objections and objections <= OF_WORDING else None
        if signs is not None:
            found.append(Weighed(signs, group, is_same))

    for line in lines:
        add(line["a"], line["b"], line["group"], is_same=line["kind"] == "paraphrase")
    texts = sorted(
        {(line["a"], line["group"]) for line in lines}
        | {(line["b"], line["group"]) for line in lines if line["kind"] == "paraphrase"}
    )
    vectors: list[Vector] = [await embedder.embed(text) for text, _ in texts]
    for (text, group), vector in zip(texts, vectors, strict=True):
        near = sorted(range(len(texts)), key=lambda place: -cosine(vector, vectors[place]))
        others = [texts[place] for place in near if texts[place][1] != group][:NEIGHBOURS]
        for other, _ in others:
            add(text, other, group, is_same=False)
    return found


def _bar(pairs: Sequence[Weighed], *, seed: int, allow: int) -> tuple[float, int]:
    """Return the sum at which so many pairs would be false, judged unseen, and how many right ones pass there."""
    groups = sorted({pair.group for pair in pairs})
    random.Random(seed).shuffle(groups)  # noqa: S311 - folds, not secrets
    fold = {group: place % FOLDS for place, group in enumerate(groups)}
    scored: list[tuple[float, bool]] = []
    for number in range(FOLDS):
        weights, bias = fit([pair for pair in pairs if fold[pair.group] != number])
        scored += [(score(weights, pair.signs) + bias, pair.is_same) for pair in pairs if fold[pair.group] == number]
    scored.sort(reverse=True)
    false = hits = 0
    for at, is_same in scored:
        false += not is_same
        if false > allow:
            return at, hits
        hits += is_same
    return 0.0, hits


def score(weights: Sequence[float], signs: Sequence[float]) -> float:
    """Return the weighed sum."""
    return sum(weight * sign for weight, sign in zip(weights, signs, strict=True))


def fit(pairs: Sequence[Weighed]) -> tuple[list[float], float]:
    """Return the weights of the signs as they are, and the bias."""
    columns = list(zip(*(pair.signs for pair in pairs), strict=True))
    means = [sum(column) / len(column) for column in columns]
    spreads = [
        math.sqrt(sum((value - mean) ** 2 for value in column) / len(column)) or 1.0
        for column, mean in zip(columns, means, strict=True)
    ]
    rows = [
        [1.0, *((value - mean) / spread for value, mean, spread in zip(pair.signs, means, spreads, strict=True))]
        for pair in pairs
    ]
    solved = _newton(rows, [float(pair.is_same) for pair in pairs])
    weights = [weight / spread for weight, spread in zip(solved[1:], spreads, strict=True)]
    return weights, solved[0] - score(weights, means)


def _newton(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float]:
    size = len(rows[0])
    weights = [0.0] * size
    for _ in range(STEPS):
        slope = [0.0, *(-PENALTY * weight for weight in weights[1:])]
        curve = [[PENALTY if at == other and at else 0.0 for other in range(size)] for at in range(size)]
        for row, target in zip(rows, wanted, strict=True):
            chance = 1 / (1 + math.exp(-max(-30.0, min(30.0, score(weights, row)))))
            for at, value in enumerate(row):
                slope[at] += (target - chance) * value
                bent = chance * (1 - chance) * value
                for other in range(at, size):
                    curve[at][other] += bent * row[other]
        for at in range(size):
            for other in range(at):
                curve[at][other] = curve[other][at]
        step = _solved(curve, slope)
        weights = [weight + move for weight, move in zip(weights, step, strict=True)]
        if max(map(abs, step)) < NOTHING:
            break
    return weights


def _solved(matrix: list[list[float]], right: Sequence[float]) -> list[float]:
    """Return the solution of a system of linear equations, by Gauss and Jordan."""
    table = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at in range(len(table)):
        best = max(range(at, len(table)), key=lambda row: abs(table[row][at]))
        table[at], table[best] = table[best], table[at]
        table[at] = [value / table[at][at] for value in table[at]]
        for row in range(len(table)):
            if row != at:
                factor = table[row][at]
                table[row] = [value - factor * other for value, other in zip(table[row], table[at], strict=True)]
    return [row[-1] for row in table]


def _written(weights: Sequence[float], bias: float, bar: float) -> str:
    lines = "".join(f"{name} = {weight:.4f}\n" for name, weight in zip(SIGNS, weights, strict=True))
    return (
        "# How much each sign speaks for two texts saying the same, and the sum that suffices.\n"
        "# Made by infra/cache/fit_evidence.py from the tuning half of the labelled pairs.\n"
        f"bar = {bar - bias:.4f}\n\n[weights]\n{lines}"
    )


if __name__ == "__main__":
    sys.exit(main())
