"""The inspector of a relayed rerank: what passes through is only looked at.

Source: https://docs.cohere.com/reference/rerank, read 2026-11; cohere 7.3, `v2.types.V2RerankResponse`.
"""

from typing import Any

from providers.answers import count, fields, objects, read_object
from providers.errors import BadAnswer
from providers.framing.inspector import Watch
from providers.types import Usage


class RerankInspector(Watch):
    """Reads what a ranking cost. Cohere charges searches, so that an answer without tokens has used none."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no ranking."""
        answer = read_object(data)
        if not isinstance(answer.get("results"), list):
            raise BadAnswer("the provider's answer is no ranking")
        self.usage = _read_usage(fields(answer.get("meta")))
        self.has_content = bool(objects(answer["results"]))
        self.is_finished = True
        return data


def _read_usage(meta: dict[str, Any]) -> Usage | None:
    billed = fields(meta.get("billed_units"))
    given = count(billed.get("input_tokens"))
    if given is None and billed.get("search_units") is None:
        return None
    return Usage(input_tokens=given or 0)


__all__ = ["RerankInspector"]
