"""The parts that the guards stand on: literals, numbers, forms, frames, tables."""

import pytest

from app.cache.guards.frames import frames
from app.cache.guards.lexicon import lexicon, read_rows
from app.cache.guards.literals import take_out
from app.cache.guards.words import sentences


def words(text):
    return [[token.text for token in sentence] for sentence in sentences(take_out(text).text, lexicon())]


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        ("What does `x` do?", ("x",)),
        ("Run ls -l /tmp/a now", ("-l /tmp/a",)),
        ('Say "good day" to a@b.example.', ("good day", "a@b.example")),
        ("Explain y = sin(x) please", ("y=sin(x)",)),
        ("the file report.pdf, quickly", ("report.pdf",)),
        ("Meet at 10:30, e.g. in the U.S. or at home - or not", ()),
        ("- milk\n- bread", ()),
        ('my parcel says "delivered"', ()),
        ("see https://a.example/b?c=d.", ("https://a.example/b?c=d",)),
    ],
)
def test_literals_are_taken_out(text, literals):
    assert take_out(text).literals == literals


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("two hundred and fifty apples", ["#250", "apples"]),
        ("1,000 or 1k or one thousand", ["#1000", "or", "#1000", "or", "#1000"]),
        ("twenty-five and thirty", ["#25", "and", "#30"]),
        ("the 3rd and the third", ["the", "#3th", "and", "the", "#3th"]),
        ("5kg, 5 kilograms", ["#5", "~kg", ",", "#5", "~kg"]),
        ("in km/h", ["in", "km", "per", "hour"]),
        ("10-20 people", ["#10", "to", "#20", "people"]),
        ("the 1990s", ["the", "#1990s"]),
        ("no one knows which one", ["no", "one", "knows", "which", "one"]),
        ("I can't, it's Anna's", ["i", "can", "not", ",", "it", "is", "anna"]),
    ],
)
def test_words_and_numbers_have_one_spelling(text, tokens):
    assert words(text) == [tokens]


@pytest.mark.parametrize(
    ("word", "base"),
    [
        ("cities", "city"), ("movies", "movie"), ("buses", "bus"), ("making", "make"), ("running", "run"),
        ("stopped", "stop"), ("studied", "study"), ("children", "child"), ("went", "go"), ("string", "string"),
        ("https", "https"), ("class", "class"), ("organising", "organize"), ("advised", "advise"), ("bed", "bed"),
        ("planning", "plan"), ("faster", "faster"),
    ],
)  # fmt: skip
def test_inflection_is_undone(word, base):
    assert lexicon().forms.base(word) == base


@pytest.mark.parametrize(
    ("sentence", "kind", "rest"),
    [
        ("what is the best way to sort a list", "how", "sort a list"),
        ("could you please show me how to sort a list", "how", "sort a list"),
        ("please tell me why cats sleep", "why", "cats sleep"),
        ("what is the difference between tea and coffee", "compare", "tea and coffee"),
        ("how many people live there", "how_measure", "many people live there"),
        ("is it possible to swim", "yesno_can", "swim"),
        ("the sky is blue", "plain", "the sky is blue"),
    ],
)
def test_a_frame_says_what_is_asked(sentence, kind, rest):
    assert [(asked.kind, asked.rest) for asked in frames().asked(sentence)] == [(kind, rest)]


def test_a_greeting_asks_nothing():
    assert frames().asked("thanks a lot") == []
    assert frames().asked("hello") == []


def test_every_kind_has_groups():
    assert {frame.kind for frame in frames().frames} | {"plain"} == frames().groups.keys()


@pytest.mark.parametrize("pair", [row for row in read_rows("antonyms.txt") if len(row) == 2], ids="-".join)
def test_what_is_opposed_is_in_no_class_of_synonyms(pair):
    one, other = (lexicon().canonical(word, is_name=False) for word in pair)
    assert one != other
    assert lexicon().contrast(one, other)
    assert not lexicon().is_near(one, other)
