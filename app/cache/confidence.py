"""How sure one may be of a rate that was counted. Law: pure; never surer than the counts allow.

The interval is that of Clopper and Pearson (1934), which is exact for any number of trials. Source of the continued
fraction: Press et al., Numerical Recipes (2007), section 6.4.
"""

import math
from typing import Final

_HALF_OF_ALPHA: Final = 0.025
_HALVINGS: Final = 60
_MOST_TERMS: Final = 10_000
_TINY: Final = 1e-300
_ENOUGH: Final = 1e-13


def upper_bound(cases: int, trials: int) -> float:
    """Return the upper end of the two-sided 95 % interval of a rate that was met in `cases` of `trials`."""
    if cases >= trials:
        return 1.0
    low, high = cases / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_most(cases, trials=trials, rate=middle) > _HALF_OF_ALPHA:
            low = middle
        else:
            high = middle
    return high


def _at_most(cases: int, *, trials: int, rate: float) -> float:
    """Return how likely at most so many cases are: the regularised incomplete beta function at `1 - rate`."""
    a, b, x = float(trials - cases), float(cases + 1), 1.0 - rate
    if x <= 0.0:
        return 0.0
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rate)
    if x < (a + 1) / (a + b + 2):
        return math.exp(logs) * _fraction(a, b, x=x) / a
    return 1.0 - math.exp(logs) * _fraction(b, a, x=1.0 - x) / b


def _fraction(a: float, b: float, *, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _ENOUGH:
            break
    return value


def _away_from_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
