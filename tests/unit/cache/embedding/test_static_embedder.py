"""The static embedder: the same as the long way, what is close and what is far, and how it gives way."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.embedding import StaticEmbedder, cosine, vector_of
from app.cache.embedding.static import WORDS_KEPT
from app.cache.embedding.table import Table
from app.cache.embedding.wordpiece import WordPiece, words_of

TABLE = Table()
EMBEDDER = StaticEmbedder(TABLE)
SAME = [
    ("how do I reverse a list in python", "what's the way to reverse a python list?"),
    ("what is the capital city of australia", "tell me the capital of Australia"),
    ("explain photosynthesis in simple words", "please explain photosynthesis in simple terms"),
    ("how do vaccines work?", "can you explain how vaccines work"),
    ("best way to learn spanish", "what is the best way of learning Spanish?"),
    ("how do I center a div with css", "how can a div be centered using CSS"),
]
OTHER = [
    ("how do I reverse a list in python", "what should I cook for dinner tonight"),
    ("what is the capital city of australia", "how long do cats live"),
    ("explain photosynthesis in simple words", "explain inflation in simple words"),
    ("how do vaccines work?", "how do magnets work?"),
    ("best way to learn spanish", "best way to cook salmon"),
    ("how do I center a div with css", "how do I sharpen a knife with a stone"),
]


def turns_of(embedding):
    """Run a coroutine by hand; return what it returns and how often it gave way."""
    turns = 0
    while True:
        try:
            embedding.send(None)
        except StopIteration as done:
            return done.value, turns
        turns += 1


def embedded(text):
    return turns_of(EMBEDDER.embed(text))[0]


@given(st.text(st.sampled_from("abcdef gh-'1é"), max_size=60))
def test_it_is_the_sum_of_the_rows(text):
    pieces = WordPiece(TABLE.vocabulary)
    sums = [0] * TABLE.dimensions
    for word in words_of(text):
        for piece in pieces.pieces(word):
            sums = [value + byte - 128 for value, byte in zip(sums, TABLE.row(piece), strict=True)]
    ours, theirs = (memoryview(vector.packed).cast("b") for vector in (embedded(text), vector_of(sums)))
    assert max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) <= 1


def test_two_embedders_agree_and_so_does_one_that_forgot():
    first = embedded("the quick brown fox")
    chance = random.Random(1)
    for _ in range(WORDS_KEPT // 500 + 1):
        embedded(" ".join(str(chance.random())[2:12] for _ in range(500)))
    assert embedded("the quick brown fox") == first == turns_of(StaticEmbedder().embed("the quick brown fox"))[0]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_what_means_the_same_is_close(a, b):
    assert cosine(embedded(a), embedded(b)) > 0.72


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_what_means_something_else_is_farther(a, b):
    assert cosine(embedded(a), embedded(b)) < 0.68


def test_meaningless_text_is_like_nothing_and_unknown_words_are_told_apart():
    nothing = embedded(" \n\t")
    assert nothing.norm == 0
    assert cosine(nothing, nothing) == 0
    assert abs(cosine(embedded("😀"), embedded("😡"))) < 0.3
    assert cosine(embedded("😀"), embedded("😀")) == pytest.approx(1)


def test_codes_differ_as_the_angle_says():
    chance = random.Random(3)
    words = [word for word in TABLE.vocabulary[1000:5000] if word.isalpha()]
    differing = []
    for number in range(300):
        shared = chance.sample(words, 4 + number % 6)
        a, b = (embedded(" ".join([*shared, *chance.sample(words, 12 - len(shared))])) for _ in range(2))
        differing.append((cosine(a, b), (a.code ^ b.code).bit_count()))
    near = [bits for similarity, bits in differing if similarity > 0.75]
    far = [bits for similarity, bits in differing if similarity < 0.6]
    assert len(near) > 20
    assert len(far) > 20
    assert sum(near) / len(near) < 62
    assert sum(far) / len(far) > 72


def test_bits_are_balanced():
    chance = random.Random(4)
    words = [word for word in TABLE.vocabulary[1000:9000] if word.isalpha()]
    codes = [embedded(" ".join(chance.sample(words, 8))).code for _ in range(600)]
    shares = [sum(code >> bit & 1 for code in codes) / len(codes) for bit in range(TABLE.dimensions)]
    assert sum(0.2 < share < 0.8 for share in shares) >= 0.95 * len(shares)
    strangers = [(one ^ other).bit_count() for one, other in pairwise(codes)]
    assert sum(strangers) / len(strangers) > 110


def test_it_gives_way_while_it_meets_new_words_and_not_once_it_knows_them():
    embedder = StaticEmbedder(TABLE)
    chance = random.Random(5)
    text = " ".join("".join(chance.choices("qzxjkvw", k=60)) for _ in range(60))
    vector, turns = turns_of(embedder.embed(text))
    assert turns >= 60 * 60 // 200
    assert turns_of(embedder.embed(text)) == (vector, 0)


def test_it_gives_way_among_letters_beyond_ascii():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 2_000)))
    assert turns_of(StaticEmbedder(TABLE).embed(text))[1] >= 2_000 // 256


def test_it_gives_way_within_a_long_text_of_known_words():
    assert turns_of(EMBEDDER.embed("! " * 5_000))[1] >= 4


def test_its_id_names_its_weights():
    assert EMBEDDER.id == f"static-256-{TABLE.digest}"
