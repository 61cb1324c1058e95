"""`best_of`, `mixture` and `compare`: several whole answers are gathered first. Law: pure.

Gathering ends when all legs have ended, at the deadline, or as soon as enough have answered where the caller said how
many are enough. Refusals are among the answers only if there is nothing else.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from app.fanout.answers import shown
from app.fanout.extensions import Scorer
from app.fanout.judgement import Judgement
from app.fanout.legs import answered, last_resort, may_answer, wait_for_all, whole, willing
from app.fanout.moves import Fail, Fuse, Give, Join, Judge, Move
from app.fanout.states import LegState
from app.fanout.strategy import Unjudged

_LOG: Final = logging.getLogger("gateway.fanout")


class _Gathering(Unjudged, ABC):
    """Legs that are asked for whole answers, of which at least `min_success` must come."""

    def __init__(self, *, min_success: int, enough: int | None = None) -> None:
        self._min_success = min_success
        self._enough = enough

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return what is to be made of the answers, or wait for more."""
        del now_ns
        have = len(willing(legs))
        is_enough = self._enough is not None and have >= max(self._enough, self._min_success)
        if not is_enough and not is_overdue and may_answer(legs):
            return wait_for_all(legs)
        if not answered(legs):
            return last_resort(legs)
        return self._made_of(legs)

    @abstractmethod
    def _made_of(self, legs: Sequence[LegState]) -> Move:
        """Return what is made of the answers that have come, of which there is at least one."""

    def _too_few(self, have: int) -> Fail:
        message = f"{have} of the models answered; at least {self._min_success} are wanted."
        return Fail(code="too_few_answers", message=message)


class _Choosing(_Gathering):
    """One answer is made of those gathered; a single one is given as it is."""

    def __init__(self, *, min_success: int, enough: int | None = None) -> None:
        super().__init__(min_success=min_success, enough=enough)
        self._gathered: tuple[int, ...] = ()

    def _made_of(self, legs: Sequence[LegState]) -> Move:
        have = willing(legs)
        count = len(have or answered(legs))
        if count < self._min_success:
            return self._too_few(count)
        if not have:
            return last_resort(legs)
        self._gathered = tuple(leg.index for leg in have)
        return Give(index=self._gathered[0]) if len(have) == 1 else self._chosen(legs)

    @abstractmethod
    def _chosen(self, legs: Sequence[LegState]) -> Move:
        """Return what is made of at least two answers."""

    def _fallback(self, legs: Sequence[LegState], reason: str) -> Move:
        """Return the first of the gathered answers in order, with the reason why it is that one."""
        return Give(index=self._gathered[0], reason=reason) if self._gathered else last_resort(legs)


class BestOf(_Choosing):
    """The best answer, by a judge or by a registered scorer."""

    def __init__(
        self, *, min_success: int, enough: int | None = None, scorer: Scorer | None = None, question: str = ""
    ) -> None:
        super().__init__(min_success=min_success, enough=enough)
        self._scorer = scorer
        self._question = question

    def _chosen(self, legs: Sequence[LegState]) -> Move:
        if self._scorer is None:
            return Judge(indexes=self._gathered)
        scores = self._scored(self._scorer, legs)
        if scores is None:
            return self._fallback(legs, "scorer_failed")
        ranking = sorted(scores, key=lambda index: (-scores[index], index))
        return _best(legs, Judgement(ranking=tuple(ranking), scores=scores))

    def _scored(self, scorer: Scorer, legs: Sequence[LegState]) -> dict[int, float] | None:
        """Return the score of each answer; `None` if the scorer fails or gives anything but a number for each."""
        texts = [shown(completion) for at in self._gathered if (completion := whole(legs[at])) is not None]
        try:
            given: Any = scorer(self._question, texts)
            scores = [float(score) for score in given]
        except Exception:  # noqa: BLE001 - it is somebody else's code
            _LOG.exception("a scorer failed")
            return None
        if len(scores) != len(self._gathered) or not all(map(math.isfinite, scores)):
            _LOG.error("a scorer gave no number for each answer")
            return None
        return dict(zip(self._gathered, scores, strict=True))

    def verdict(self, legs: Sequence[LegState], ranking: Judgement | None) -> Move:
        """Return the answer that the judge put first; if there is no judgement, the first in order."""
        if ranking is None or not ranking.ranking or not set(ranking.ranking) <= set(self._gathered):
            return self._fallback(legs, "judge_failed")
        return _best(legs, ranking)


class Mixture(_Choosing):
    """One answer that a model writes from all of them."""

    def _chosen(self, legs: Sequence[LegState]) -> Move:
        del legs
        return Fuse(indexes=self._gathered)

    def verdict(self, legs: Sequence[LegState], ranking: Judgement | None) -> Move:
        """Return the first answer in order: the fuser failed."""
        del ranking
        return self._fallback(legs, "fuser_failed")


class Compare(_Gathering):
    """All answers, refusals too."""

    def _made_of(self, legs: Sequence[LegState]) -> Move:
        every = answered(legs)
        if len(every) < self._min_success:
            return self._too_few(len(every))
        return Join(indexes=tuple(leg.index for leg in every))


def _best(legs: Sequence[LegState], judgement: Judgement) -> Give:
    scores = tuple(judgement.scores.get(leg.index) for leg in legs)
    return Give(index=judgement.ranking[0], scores=scores, ranking=judgement.ranking)
