"""Whether requests are traced, and what of them."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from app.settings.forms import HeaderValue


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traces in OpenTelemetry's protocol over HTTP; needs the extra `otel`."""

    endpoint: Annotated[
        str | None,
        Meta(
            description="The receiver's address; absent: `OTEL_EXPORTER_OTLP_ENDPOINT`, else http://localhost:4318.",
            examples=["http://127.0.0.1:4318"],
        ),
    ] = None
    headers: Annotated[
        Mapping[str, HeaderValue], Meta(description="Headers for the receiver; credentials as `env:` or `file:`.")
    ] = {}
    sample: Annotated[
        float,
        Meta(description="The share of traces that begin here; others are as their caller has decided.", ge=0, le=1),
    ] = 1.0
    content: Annotated[
        tuple[str, ...],
        Meta(description='Whose prompts and answers are recorded: ids of organisations, teams or keys; `["*"]`: all.'),
    ] = ()
