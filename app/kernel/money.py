"""Money. Law: integers of nano-USD inside, decimal strings of USD outside, no float anywhere."""

import re

NUSD_PER_USD = 1_000_000_000
MAX_NUSD = 9_000_000_000_000_000
"""The largest single amount: Lua's numbers are exact to 2**53. Source: reliability.md section 5."""

TOKENS_PER_PRICE = 1_000_000
"""Prices are for so many tokens."""
_PLACES = 9
_AMOUNT = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,9}))?", re.ASCII)


def parse_usd(text: object) -> int:
    """Return the nano-USD in a decimal string of USD, such as `"0.15"`.

    Raises `ValueError` for anything but a plain, non-negative decimal of at most nine places and at most $9,000,000.
    """
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('an amount of USD is a decimal string of at most nine places (nano-USD), such as "0.15"')
    whole, places = match.groups(default="")
    nusd = int(whole) * NUSD_PER_USD + int(places.ljust(_PLACES, "0"))
    if nusd > MAX_NUSD:
        raise ValueError("an amount is at most 9000000 USD")
    return nusd


def format_usd(nusd: int) -> str:
    """Return nano-USD as a decimal string of USD with nine places, such as `"0.000150000"`."""
    sign = "-" if nusd < 0 else ""
    whole, part = divmod(abs(nusd), NUSD_PER_USD)
    return f"{sign}{whole}.{part:09d}"


def round_up(exact: int) -> int:
    """Return nano-USD for a sum of tokens times prices (nano-USD per million tokens), rounded up once."""
    return -(-exact // TOKENS_PER_PRICE)
