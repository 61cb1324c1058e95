"""What handlers are given: the query parameters that lists share, and what the router provides."""

from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter

from app.api.admin.writing import Write
from app.domain.audit.principal import Principal
from app.domain.services import AdminServices
from app.gateway.front_door import FrontDoor

LIMIT_MAX = 200

Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="How many items at most.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=512, description="The `cursor` of the page before; absent: the first page.")
]

Services = NamedDependency[AdminServices]
Caller = NamedDependency[Principal]
Writer = NamedDependency[Write]
Door = NamedDependency[FrontDoor]

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        schema_extra={"min_length": 1, "max_length": 255, "pattern": "^[ -~]*$"},
        description="Makes a retry safe: within 24 hours the same key answers what it answered first.",
    ),
]
IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="Write only if the object still has this ETag.")
]
