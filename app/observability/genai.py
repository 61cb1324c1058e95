"""OpenTelemetry's metrics of generative AI, under the names that Prometheus gives them, and the words in their labels.

Law: labels are configured names and closed lists. `gen_ai.client.operation.time_per_output_chunk` is not here: it wants
a look at the clock for every chunk. Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/, read
2026-11.
"""

from app.observability.family import Family

_CALL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_DURATIONS = tuple(0.01 * 2**power for power in range(14))
_TOKENS = tuple(float(4**power) for power in range(14))
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

TOKEN_USAGE = Family(
    "gen_ai_client_token_usage",
    "Tokens of one upstream call; input includes what was read from and written to the provider's cache.",
    (*_CALL, "gen_ai_token_type"),
    "histogram",
    buckets=_TOKENS,
)
OPERATION_DURATION = Family(
    "gen_ai_client_operation_duration_seconds",
    "One upstream call, from its start to its end.",
    (*_CALL, "error_type"),
    "histogram",
    buckets=_DURATIONS,
)
FIRST_CHUNK = Family(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "From the start of a streamed upstream call to its first content.",
    _CALL,
    "histogram",
    buckets=_FIRST,
)
REQUEST_DURATION = Family(
    "gen_ai_server_request_duration_seconds",
    "A request, as its client sees it: all attempts, from its head to its last byte.",
    (*_CALL, "error_type"),
    "histogram",
    buckets=_DURATIONS,
)
FIRST_TOKEN = Family(
    "gen_ai_server_time_to_first_token_seconds",
    "From a streamed request's head to its first content, as its client sees it.",
    _CALL,
    "histogram",
    buckets=_FIRST,
)
PER_TOKEN = Family(
    "gen_ai_server_time_per_output_token_seconds",
    "Time for each output token after the first, of a stream that came whole.",
    _CALL,
    "histogram",
    buckets=_PER_TOKEN,
)

GENAI = (TOKEN_USAGE, OPERATION_DURATION, FIRST_CHUNK, REQUEST_DURATION, FIRST_TOKEN, PER_TOKEN)

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "gemini-openai": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
_OPERATIONS = {"openai.completions": "text_completion", "gemini.generate": "generate_content"}


def provider_name(adapter: str) -> str:
    """Return what the conventions call the vendor that an adapter speaks to; others go by their adapter's name."""
    return _PROVIDERS.get(adapter, adapter)


def operation_name(operation: str, *, relay: str) -> str:
    """Return what the conventions call an operation; `relay` is its name on the client's wire."""
    return _OPERATIONS.get(relay, operation)
