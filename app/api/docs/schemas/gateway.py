"""What is said to the gateway itself, what it says of itself, and how it says that something went wrong."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType


class GatewayOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Options of the request. Each is also a header, `x-gateway-…`, which wins. They never reach the provider."""

    timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=86_400, examples=[20])] | None,
        Meta(description="Seconds that the whole request may take."),
    ] = None
    max_cost: Annotated[
        str | None, Meta(description="The most that the request may cost, in USD.", examples=["0.05"])
    ] = None
    tags: Annotated[
        dict[str, str | int] | str | None,
        Meta(description="At most 16 labels for the usage report, or `team=blue,run=7`.", examples=[{"team": "blue"}]),
    ] = None
    route: Annotated[
        str | None,
        Meta(
            description="`provider/model`: the target to use, if the key has `may_route`.", examples=["openai/gpt-4o"]
        ),
    ] = None
    include: Annotated[
        list[Literal["cost"]] | str | None, Meta(description="`cost` adds a `gateway` object to the answer.")
    ] = None


class TokenUsage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Token counts, disjoint but for reasoning, which is a part of the output."""

    input_tokens: Annotated[int, Meta(description="Without what was read from or written to the provider's cache.")]
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: Annotated[int, Meta(description="Of the output.")]


class GatewayNote(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the request came to; only if it asked to `include` the `cost`."""

    request_id: str
    provider: Annotated[str | None, Meta(description="The provider that served.")]
    model: Annotated[str, Meta(description="The public name of the model that served.")]
    cost: Annotated[str | None, Meta(description="In USD; null for a model without a price.", examples=["0.000150000"])]
    usage: TokenUsage
    price_version: str | None
    cache: Annotated[
        Literal["miss", "exact", "semantic", "coalesced", "bypass", "off"],
        Meta(description="What the cache had to do with it."),
    ]
    saved_cost: Annotated[str | UnsetType, Meta(description="What an answer that was given again had cost.")] = UNSET


class ErrorDetail(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What went wrong."""

    message: str
    type: Annotated[str, Meta(description="The kind of error.", examples=["invalid_request_error"])]
    param: Annotated[str | None, Meta(description="The path of the offending field.", examples=["messages[0].content"])]
    code: Annotated[str | None, Meta(description="For programs to compare.", examples=["model_not_found"])]


class Error(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A refusal or a failure."""

    error: ErrorDetail


class Health(msgspec.Struct, kw_only=True):
    """The process answers."""

    status: Literal["ok"]


class Readiness(msgspec.Struct, kw_only=True):
    """Whether requests should be sent here."""

    status: Literal["ready", "not ready"]
    degraded: Annotated[list[str], Meta(description="The stores that do not answer now.")]


MODELS = (Error, Health, Readiness)
