"""How often and how long calls are tried: the numbers that a model may have here, and what is out of their range."""

from app.commands.litellm.reading import Section

_MAX_RETRIES = 10
_MAX_S = 86_400


def retries_in(place: Section, *keys: str) -> int | None:
    """Take a number of retries in the range that the file takes; `None` where none is written."""
    where, number = _written(place, keys), place.number(*keys)
    if number is None:
        return None
    retries = max(0, min(int(number), _MAX_RETRIES))
    if retries != number:
        place.report.change(where, f"is {retries} here, for a model has up to {_MAX_RETRIES} retries")
    return retries


def clock_in(place: Section, *keys: str) -> float | int | None:
    """Take a clock in seconds in the range that the file takes, whole where it is; `None` where none is meant."""
    where, seconds = _written(place, keys), place.number(*keys)
    if seconds is None:
        return None
    if seconds <= 0:
        place.report.change(where, "is no time, so that the gateway's own clock holds: see `timeouts`")
        return None
    if seconds > _MAX_S:
        place.report.change(where, "is a day here, the longest time that a clock may have")
        return _MAX_S
    return int(seconds) if seconds == int(seconds) else seconds


def _written(place: Section, keys: tuple[str, ...]) -> str:
    """Return the path of the first of the keys that is written."""
    return place.at(next((key for key in keys if place.has(key)), keys[0]))
