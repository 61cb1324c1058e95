"""Tokens against those that the real tokenizer made of the same texts (`wordpiece.jsonl`)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.embedding.table import Table
from app.cache.embedding.wordpiece import MOST_LETTERS, WordPiece, words_of

RECORDED = [json.loads(line) for line in Path(__file__).with_name("wordpiece.jsonl").read_text().splitlines()]
VOCABULARY = Table().vocabulary
PIECES = WordPiece(VOCABULARY)


def tokens_of(text):
    found = []
    for word in words_of(text):
        found += [VOCABULARY[piece] for piece in PIECES.pieces(word)] or ["[UNK]"]
    return found


def test_tokens_are_those_of_the_real_tokenizer():
    assert len(RECORDED) > 300
    assert [case["text"] for case in RECORDED if tokens_of(case["text"]) != case["tokens"]] == []


@given(st.text(max_size=200))
def test_any_text_has_words_that_are_not_empty_and_hold_no_space(text):
    assert all(word and not any(map(str.isspace, word)) for word in words_of(text))


@given(st.text(st.characters(max_codepoint=127), max_size=200))
def test_the_short_way_of_plain_text_finds_the_words_of_the_long_one(text):
    marked = words_of(text + " é")
    assert marked == [*words_of(text), "e"]


@given(st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=MOST_LETTERS))
def test_pieces_make_up_their_word(word):
    pieces = PIECES.pieces(word)
    assert not pieces or "".join(VOCABULARY[piece].removeprefix("##") for piece in pieces) == word


@pytest.mark.parametrize(("letters", "is_known"), [(MOST_LETTERS, True), (MOST_LETTERS + 1, False)])
def test_a_word_may_have_a_hundred_letters(letters, is_known):
    assert bool(PIECES.pieces("a" * letters)) is is_known
