"""The paths that no provider serves: models, and what operates the gateway."""

from app.api.docs.inference.operations import Title, answer, parameter, shaped, titled
from app.api.docs.inference.refusals import AT_EVERY_DOOR, EITHER, JSON, OF_MODELS, Errors, Object, refusals
from app.api.docs.schemas.headers import TEXT
from app.api.docs.schemas.references import reference
from app.kernel import errors

_VERSION = parameter("anthropic-version", "If sent, the answer has Anthropic's shape.", TEXT)
_PAGING = [
    parameter(
        "limit",
        "Models a page; in Anthropic's shape only.",
        {"type": "integer", "minimum": 1, "maximum": 1000},
        place="query",
    ),
    parameter("after_id", "Begin behind this model; in Anthropic's shape only.", TEXT, place="query"),
    parameter("before_id", "End before this model; in Anthropic's shape only.", TEXT, place="query"),
]
_NAME = parameter("id", "The model's public name; its slashes may stay as they are.", TEXT, place="path")


def plane_paths() -> Object:
    """Return the descriptions of these paths."""
    return {
        "/v1/models": {"get": _models()},
        "/v1/models/{id}": {"get": _model()},
        "/healthz": {"get": _health()},
        "/readyz": {"get": _readiness()},
        "/metrics": {"get": _metrics()},
    }


def _models() -> Object:
    return {
        **titled(Title("Models", "listModels", "List the models that the key may use")),
        "parameters": [_VERSION, *_PAGING],
        "responses": _either("The models.", "ModelList", "AnthropicModelPage", refused=AT_EVERY_DOOR),
    }


def _model() -> Object:
    return {
        **titled(Title("Models", "readModel", "Read one model")),
        "parameters": [_NAME, _VERSION],
        "responses": _either("The model.", "Model", "AnthropicModel", refused=OF_MODELS),
    }


def _either(about: str, *shapes: str, refused: Errors) -> Object:
    schema = {"anyOf": [reference(shape) for shape in shapes]}
    return {"200": answer(about, {JSON: {"schema": schema}}, speech=EITHER), **refusals(refused, speech=EITHER)}


def _health() -> Object:
    return _probe("health", "Tell whether the process lives", {"200": answer("Yes.", shaped(json="Health"))})


def _readiness() -> Object:
    said = {"200": "Ready.", "503": "Not ready, or about to stop."}
    answers = {status: answer(about, shaped(json="Readiness")) for status, about in said.items()}
    return _probe("readiness", "Tell whether requests are welcome", answers)


def _metrics() -> Object:
    shown = answer("The metrics.", {"text/plain": {"schema": TEXT}})
    answers = {"200": shown, **refusals((errors.NotFound,))}
    return _probe("metrics", "Show the metrics of all workers, for Prometheus", answers)


def _probe(name: str, summary: str, responses: Object) -> Object:
    return {"tags": ["Operation"], "operationId": name, "summary": summary, "security": [], "responses": responses}
