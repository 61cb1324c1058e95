"""The texts that the table is fitted to: WordNet's glosses, prompts composed of its words, free packages' docstrings.

Nothing here is a labelled pair. Related texts come as a family, so that a batch holds texts that are nearly the same.
"""

import ast
import importlib.util
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

WORDNET: Final = Path("/usr/share/wordnet")
FRAMES: Final = Path(__file__).with_name("frames.txt")
DOCUMENTED: Final = ("numpy", "scipy", "sklearn")
"""Packages (BSD licences) whose docstrings are read beside those of Python's own library."""
FAMILY_TEXTS: Final = 8
LONG_TEXTS: Final = 12_000
UNMARKED: Final = 0.3
GREETED: Final = 0.1
LEAST_LETTERS: Final = 12
_MAY_BE_TAGGED: Final = re.compile(r"\([a-z]{1,2}\)$")


class Words(NamedTuple):
    """WordNet's lemmas by part of speech, with repeats in proportion to how common they are, and its glosses."""

    nouns: list[str]
    verbs: list[str]
    adjectives: list[str]
    glossed: list[tuple[str, str]]


def families(*, composed: int, seed: int) -> list[list[str]]:
    """Return families of related texts, shuffled; `composed` is how many of them are composed prompts."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice is the point
    words = _words()
    found = [_of_gloss(lemma, gloss) for lemma, gloss in words.glossed]
    sentences = [text for family in found for text in family[:1]]
    found += [_long(sentences, chance) for _ in range(LONG_TEXTS // 4)]
    found += list(_of_docstrings())
    groups = _groups()
    found += [_composed(groups, words, chance) for _ in range(composed)]
    chance.shuffle(found)
    return found


def _words() -> Words:
    counts = _counts()
    glossed: list[tuple[str, str]] = []
    lemmas: dict[str, list[str]] = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith(" "):
                continue
            facts, _, gloss = line.partition("|")
            fields = facts.split()
            names = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            cleaned = [_MAY_BE_TAGGED.sub("", name).replace("_", " ") for name in names]
            glossed.append((cleaned[0], gloss.strip()))
            for name in cleaned:
                lemmas.setdefault(part, []).extend([name] * (1 + min(counts.get(name.lower(), 0), 20)))
    return Words(lemmas["noun"], lemmas["verb"], lemmas["adj"], glossed)


def _counts() -> dict[str, int]:
    """Return how often each lemma was met in WordNet's tagged texts."""
    counts: dict[str, int] = {}
    for line in (WORDNET / "cntlist.rev").read_text("utf-8").splitlines():
        key, _, count = line.split()
        lemma = key.partition("%")[0].replace("_", " ")
        counts[lemma] = counts.get(lemma, 0) + int(count)
    return counts


def _of_gloss(lemma: str, gloss: str) -> list[str]:
    meaning, *examples = gloss.split('; "')
    return [meaning, f"{lemma}: {meaning}", lemma, *(example.strip('" ') for example in examples[:3])]


def _long(sentences: list[str], chance: random.Random) -> list[str]:
    """Return longer texts that share some of their sentences."""
    pool = [chance.choice(sentences) for _ in range(8)]
    return [". ".join(chance.sample(pool, chance.randint(2, 6))) for _ in range(4)]


def _groups() -> list[list[str]]:
    lines = (line for line in FRAMES.read_text("utf-8").splitlines() if not line.startswith("#"))
    return [group.splitlines() for group in re.split(r"\n\n+", "\n".join(lines).strip())]


def _composed(groups: list[list[str]], words: Words, chance: random.Random) -> list[str]:
    """Return prompts of a few frames whose slots are filled alike, and some with one slot filled otherwise."""
    filling = _filling(words, chance)
    asked = chance.sample(groups, 2)
    texts = [frame.format(**filling) for frame in chance.sample(asked[0], min(len(asked[0]), 4))]
    texts += [frame.format(**filling) for frame in chance.sample(asked[1], min(len(asked[1]), 2))]
    for _ in range(FAMILY_TEXTS - len(texts)):
        slot = chance.choice(list(filling))
        texts.append(chance.choice(asked[0]).format(**{**filling, slot: _filling(words, chance)[slot]}))
    return [_typed(text, chance) for text in texts]


def _filling(words: Words, chance: random.Random) -> dict[str, str]:
    return {
        "n": chance.choice(words.nouns),
        "m": chance.choice(words.nouns),
        "v": chance.choice(words.verbs),
        "a": chance.choice(words.adjectives),
        "k": str(chance.choice((chance.randint(2, 12), chance.randint(13, 3000)))),
        "t": chance.choice(words.glossed)[1],
    }


def _typed(text: str, chance: random.Random) -> str:
    """Return the text as somebody may type it: without its last mark, or politely."""
    if chance.random() < UNMARKED:
        text = text.rstrip("?.")
    return (
        f"{chance.choice(('please', 'hi,', 'hello,', 'hey,', 'ok so'))} {text}" if chance.random() < GREETED else text
    )


def _of_docstrings() -> Iterator[list[str]]:
    roots = [Path(sysconfig.get_path("stdlib"))]
    for name in DOCUMENTED:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SystemExit(f"Install {name}: its docstrings are part of the texts.")
        roots.append(Path(spec.origin).parent)
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root).parts
            if not {"site-packages", "test", "tests", "lib2to3"} & set(inside):
                yield from _of_source(path)


def _of_source(path: Path) -> Iterator[list[str]]:
    """Yield for each docstring its first sentences, by themselves and after the name of what they describe."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)) and (
            text := ast.get_docstring(node)
        ):
            first = text.partition("\n\n")[0]
            sentences = [
                part for part in re.split(r"(?<=[.?!])\s+", " ".join(first.split())) if len(part) > LEAST_LETTERS
            ]
            if sentences:
                name = re.sub(r"(?<=[a-z])(?=[A-Z])|_+", " ", node.name).strip()
                yield [*sentences[:4], f"{name}: {sentences[0]}"]
