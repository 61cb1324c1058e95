"""What is asked and told of how requests are decided."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.pipeline.explanation import Explanation


class ExplainRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request that is not to be made."""

    path: Annotated[str, Meta(description="Where it would be sent.", examples=["/v1/chat/completions"])]
    body: Annotated[dict[str, Any], Meta(description="What would be sent there.")]


MODELS = (ExplainRequest, Explanation)
