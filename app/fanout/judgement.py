"""What a judge thought. Law: a value only."""

from collections.abc import Mapping

import msgspec


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The legs that were judged, the best first, and the scores of those that got one, each from 0 to 1."""

    ranking: tuple[int, ...]
    scores: Mapping[int, float] = {}
