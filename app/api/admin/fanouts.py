"""`/fanouts`: which model wins when several are asked."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from msgspec import UNSET, Meta, UnsetType

from app.api.admin.parameters import Caller, Limit, Services
from app.api.admin.problems import PROBLEMS
from app.api.admin.usage import ReportCursor, provide_usage_query
from app.api.admin.usage_items import Cost
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.usage.reports import UsageQuery
from app.guards.admin import requires_role

GroupBy = Annotated[
    str | None,
    QueryParameter(
        description="What to group by beside the fan-out and the model: a comma list of `provider`, `key`, `team`, "
        "`organization`, `tag:NAME`."
    ),
]


class FanoutItem(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one model's legs in one fan-out; it has the ids of what was grouped by, also as `tag:NAME`."""

    fanout: Annotated[
        str, Meta(description="The ensemble, or the strategy where requests named the models themselves.")
    ]
    model: str
    provider: str | UnsetType = UNSET
    key_id: UUID | UnsetType = UNSET
    team_id: Annotated[UUID | UnsetType | None, Meta(description="Null for keys without a team.")] = UNSET
    organization_id: UUID | UnsetType = UNSET
    legs: Annotated[int, Meta(description="How often it was asked for an answer.")]
    won: Annotated[int, Meta(description="How often its answer was taken; of `compare`, one of them.")]
    lost: Annotated[int, Meta(description="How often another's was, or it was cut off.")]
    failed: Annotated[int, Meta(description="How often it had none.")]
    judged: Annotated[int, Meta(description="How often it was asked which answer is best.")]
    fused: Annotated[int, Meta(description="How often it was asked to write one answer from several.")]
    win_rate: Annotated[float | None, Meta(description="`won` of `legs`; null where there are none.")]
    mean_ttft_ms: Annotated[
        int | None,
        Meta(description="How long its legs took to their first content; of whole answers, to their end."),
    ]
    p95_ttft_ms: Annotated[int | None, Meta(description="Within which 95 of 100 of them had it.")]
    input_tokens: int
    output_tokens: int
    cost: Cost


class FanoutPage(msgspec.Struct, frozen=True):
    """Some items, in the order of fan-outs, models and groups, and the cursor of those that follow."""

    items: list[FanoutItem]
    cursor: str | None


class FanoutController(Controller):
    """Which model wins when several are asked."""

    path = "/fanouts"
    tags = ("Fan-outs",)
    return_dto = None
    guards = (requires_role(Role.VIEWER),)
    dependencies = {"usage_query": Provide(provide_usage_query, sync_to_thread=False)}  # noqa: RUF012 - as Litestar has it

    @get(summary="Report fan-outs", responses=PROBLEMS)
    async def report_fanouts(
        self,
        *,
        services: Services,
        principal: Caller,
        usage_query: NamedDependency[UsageQuery],
        group_by: GroupBy = None,
        limit: Limit = 50,
        cursor: ReportCursor = None,
    ) -> Response[FanoutPage]:
        """Of the range, for each fan-out and model: legs, wins, times and cost; within 5 seconds of a request's end.

        A leg that its own route repeated is one leg, and costs what all its attempts do. Legs that reached no provider
        are not in it.
        """
        page = await services.usage.fanouts(principal, usage_query, group_by=group_by, limit=limit, cursor=cursor)
        return read_response(page)
