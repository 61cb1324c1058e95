"""What is kept of the Responses API."""

from typing import Any

import msgspec


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A finished response that the gateway keeps: as its client got it, with the input items that led to it.

    `previous_id` names the response that it went on from: its input does not repeat what is kept there.
    """

    id: str
    response: dict[str, Any]
    input: list[dict[str, Any]]
    previous_id: str | None = None

    @property
    def output(self) -> list[dict[str, Any]]:
        """The items that the model wrote."""
        items = self.response.get("output")
        return items if isinstance(items, list) else []

    @property
    def item_ids(self) -> list[str]:
        """The ids of its output, which the client may refer to."""
        return [item["id"] for item in self.output if isinstance(item.get("id"), str)]


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """An id that an organisation may refer to.

    `provider` is who keeps what it names; absent if the gateway itself does. `response_id` is the response that it
    belongs to, if it belongs to one.
    """

    id: str
    provider: str | None = None
    response_id: str | None = None
