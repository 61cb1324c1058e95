"""A request as the outermost ring saw it answered. Law: the template of its path, for names may be in the path."""

from typing import NamedTuple


class AnsweredRequest(NamedTuple):
    """What is known of every request, also of one that no endpoint was found for."""

    request_id: str
    method: str
    route: str
    status: int
    took_ns: int
