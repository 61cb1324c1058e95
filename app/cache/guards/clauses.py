"""A text as clauses: kinds of questions with their content, the rest of the text being one. Law: pure.

Content is what is left once frames, function words, synonyms and inflection are gone. It is what two texts must share.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from app.cache.guards.arrangement import END, Arrangement, arrange
from app.cache.guards.frames import PLAIN, Asked, frames
from app.cache.guards.lexicon import Lexicon
from app.cache.guards.literals import Prose, is_mark
from app.cache.guards.voice import active, attributive

_COMPARISON: Final = frozenset({"compare", "similar"})
_ASKING: Final = frozenset({"what", "what_many"})
_RELATIVE: Final = frozenset({"that", "which", "who"})
_HAPPENS: Final = "happen*"
"""What a "why" asks of, without saying more."""
_COMPARING: Final = frozenset({"differ", "difference", "different", "compare", "distinct", "unlike", "similar"})


class Clause(NamedTuple):
    """What kind of answer is wanted, the content, sorted, and the content in its arrangement."""

    kind: str
    content: tuple[str, ...]
    arrangement: Arrangement
    persons: frozenset[str]


def clauses(sentences: Iterable[str], *, prose: Prose, names: frozenset[str], lexicon: Lexicon) -> tuple[Clause, ...]:
    """Return the clauses of sentences of lower-case words: what is stated or bidden, then the questions in order."""
    sentences = list(sentences)
    about = lexicon.sets["of_words"]
    reader = _Reader(prose, names, lexicon, any(word in about for sentence in sentences for word in sentence.split()))
    plain: list[str] = []
    said: set[str] = set()
    questions: list[Clause] = []
    for sentence in sentences:
        for asked in frames().asked(sentence):
            words = reader.words(asked)
            if asked.kind == PLAIN:
                plain += [*words, ","]
                said |= reader.persons(asked)
            else:
                questions.append(reader.clause(asked.kind, words, reader.persons(asked)))
    stated = reader.clause(PLAIN, plain, said)
    return (stated, *questions) if stated.content or not questions else tuple(questions)


class _Reader(NamedTuple):
    """Brings the words of clauses to their content."""

    prose: Prose
    names: frozenset[str]
    lexicon: Lexicon
    is_of_words: bool
    """Whether the text is about words, for which no other may stand then."""

    def persons(self, asked: Asked) -> set[str]:
        """Return the persons that pronouns of a clause mean."""
        persons = self.lexicon.maps["persons"]
        return {persons[word] for word in asked.rest.split() if word in persons}

    def words(self, asked: Asked) -> list[str]:
        """Return the content words, prepositions and commas of a clause, in the active voice."""
        words = active(self._relative(asked.rest.split()), is_after_be=asked.is_after_be, lexicon=self.lexicon)
        if asked.kind != PLAIN:
            words = attributive(words, self.lexicon)
        replaced = self._replaced(
            [self._form(word) for word in words], are_names=asked.kind in _COMPARISON or self.is_of_words
        )
        verbs, dropped, weak = self.lexicon.forms.verbs, self.lexicon.sets["dropped"], self.lexicon.maps["weak"]
        made = [
            word
            for word, after in zip(replaced, [*replaced[1:], ""], strict=True)
            if word != "to" or after not in verbs
        ]
        made = [END if word in self.lexicon.sets["phrase_ends"] else word for word in made]
        made = [word for word in made if word not in dropped or word in weak]
        if made and asked.kind in _ASKING and made[0] in self.asked_for():
            made[0] += "?"
        if asked.kind == "why" and made[-1:] == [_HAPPENS]:
            made.pop()
        return (
            [word for word in made if word not in _COMPARING]
            if asked.kind in _COMPARISON
            else _without_appositions(made, self.lexicon)
        )

    def _relative(self, words: list[str]) -> list[str]:
        """Return words with the pronouns that open a relative clause as bounds."""
        weak, strong = self.lexicon.maps["weak"], self.lexicon.maps["strong"]
        before = ["", *words]
        return [
            END if at and word in _RELATIVE and before[at] not in weak and before[at] not in strong else word
            for at, word in enumerate(words)
        ]

    def clause(self, kind: str, words: list[str], persons: set[str]) -> Clause:
        """Return the clause that words make."""
        weak, strong = self.lexicon.maps["weak"], self.lexicon.maps["strong"]
        content = sorted(
            word for word in words if word not in weak and word not in strong and word not in {",", "and", END}
        )
        return Clause(kind, tuple(content), arrange(words, self.lexicon), frozenset(persons))

    def asked_for(self) -> frozenset[str]:
        """Return the nouns that behind "which" only say what kind of thing is asked for, as content has them."""
        return frozenset(self.lexicon.canonical(word, is_name=False) for word in self.lexicon.sets["asked_for"])

    def _form(self, word: str) -> str:
        lexicon = self.lexicon
        if is_mark(word):
            return "=" + self.prose.literal(word)
        if word in self.names and word in lexicon.names:
            return lexicon.names[word]
        if word == "us":
            return "me"
        if (
            word in lexicon.maps["weak"]
            or word in lexicon.maps["strong"]
            or word in lexicon.sets["dropped"]
            or not word[0].isalpha()
        ):
            return word
        named = lexicon.names.get(word)
        if named is not None:
            return named
        return f"^{lexicon.forms.base(word)}" if word in self.names else lexicon.forms.base(word)

    def _replaced(self, forms: list[str], *, are_names: bool) -> list[str]:
        """Return dictionary forms with phrases and synonyms replaced."""
        bare = [form.removeprefix("^") for form in forms]
        made: list[str] = []
        position = 0
        while position < len(forms):
            for phrase in self.lexicon.phrases.get(bare[position], ()):
                if tuple(bare[position : position + len(phrase.words)]) == phrase.words:
                    made += phrase.becomes
                    position += len(phrase.words)
                    break
            else:
                made.append(self._canonical(bare[position], is_name=are_names or forms[position].startswith("^")))
                position += 1
        return made

    def _canonical(self, form: str, *, is_name: bool) -> str:
        lexicon = self.lexicon
        if form in lexicon.maps["weak"] or form in lexicon.maps["strong"] or form in lexicon.sets["dropped"]:
            return form
        return lexicon.canonical(form, is_name=is_name)


def _without_appositions(words: list[str], lexicon: Lexicon) -> list[str]:
    """Return words without a noun that only says what the literal beside it is ("the command `ls`")."""
    nouns = lexicon.sets["apposed"]
    made: list[str] = []
    for at, word in enumerate(words):
        beside = words[at + 1 : at + 2] + (words[at - 1 : at] if at else [])
        if word not in nouns or not any(near.startswith("=") for near in beside):
            made.append(word)
    return made
