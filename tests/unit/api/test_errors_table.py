import importlib
import pkgutil

import msgspec
import pytest
from litestar import Litestar, get
from litestar.exceptions import InternalServerException

import app
from app.api import errors as spoken
from app.api.admin.problems import spoken_problem
from app.asgi import INFERENCE_EXCEPTION_HANDLERS, refuse_inference
from app.kernel import errors
from app.kernel.clock import ManualClock
from app.middleware.context import ContextRing, PlaneState

HIDING = ("www-authenticate", "retry-after", "retry-after-ms", "x-should-retry")


def every_error():
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {errors.GatewayError}
    waiting = [errors.GatewayError]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        found.update(subclasses)
        waiting.extend(subclasses)
    return sorted((kind for kind in found if kind.__module__.startswith("app.")), key=lambda kind: kind.__qualname__)


def make(kind):
    return kind.__new__(kind) if kind.__init__ is not errors.GatewayError.__init__ else kind("why")


def test_every_class_of_the_kernel_is_in_the_table():
    kernel = {kind for kind in every_error() if kind.__module__ == errors.__name__}
    assert kernel == set(spoken.TABLE)


def test_both_planes_answer_with_the_same_statuses():
    for kind, said in spoken.TABLE.items():
        assert spoken_problem(kind(), request_id="1").status == said.status


def test_errors_outside_the_kernel_are_said_as_what_they_are_made_from():
    others = [kind for kind in every_error() if kind.__module__ != errors.__name__]
    assert others
    for kind in others:
        status = spoken.spoken_of(make(kind)).status
        assert status == next(spoken.TABLE[base].status for base in kind.__mro__ if base in spoken.TABLE)


def test_every_error_is_drawn_in_the_tree_of_its_module():
    for kind in spoken.TABLE:
        assert kind.__name__ in (errors.__doc__ or "")


def test_the_docstring_is_the_message_and_the_body_is_openais():
    error = errors.NotFound(code="model_not_found", param="model")
    body = msgspec.json.decode(spoken.openai_body(error))
    assert body == {
        "error": {
            "message": "There is no such object.",
            "type": "not_found_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert str(error) == error.message


def headers(error):
    return {name.decode(): value.decode() for name, value in spoken.headers_of(error)}


@pytest.mark.parametrize(
    ("wait_s", "seconds", "milliseconds"),
    [(0.2, "1", "200"), (1, "1", "1000"), (1.001, "2", "1001"), (60.0, "60", "60000"), (0, "0", "0"), (-3, "0", "0")],
)
def test_waiting_times_are_rounded_up_to_seconds(wait_s, seconds, milliseconds):
    said = headers(errors.RateLimited(retry_after_s=wait_s))
    assert (said["retry-after"], said["retry-after-ms"]) == (seconds, milliseconds)


def test_what_cannot_be_waited_for_says_so():
    assert headers(errors.QuotaExceeded()) == {"x-should-retry": "false"}
    assert headers(errors.Conflict()) == {"x-should-retry": "false"}
    assert headers(errors.Unauthenticated()) == {"www-authenticate": "Bearer"}
    assert headers(errors.MethodNotAllowed(headers=(("allow", "POST"),))) == {"allow": "POST"}
    assert headers(errors.InternalError()) == {}


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/v1/nowhere", "type"),
        ("/v1beta/models", "status"),
        ("/v1beta/cachedContents/1", "status"),
        ("/v1beta/models/m:generateContent", "status"),
    ],
)
def test_a_refusal_before_any_wire_is_in_the_dialect_of_the_path(path, member):
    status, _, body = refuse_inference(path, {}, errors.NotFound("there is no such path"), "id", took_ns=0)
    assert status == 404
    assert member in msgspec.json.decode(body)["error"]
    assert (
        msgspec.json.decode(refuse_inference("/v1/messages/batches", {}, errors.NotFound("no"), "id", took_ns=0)[2])[
            "request_id"
        ]
        == "id"
    )


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("/v1/llm/explain", {}, {"type": "server_error", "code": "internal_error"}),
        ("/v1/models", {}, {"type": "server_error", "code": "internal_error"}),
        ("/v1/models", {b"anthropic-version": b"2023-06-01"}, {"type": "api_error"}),
        ("/v1beta/models/m", {}, {"code": 500, "status": "INTERNAL"}),
    ],
)
@pytest.mark.parametrize("defect", [TypeError("a secret"), InternalServerException("a secret")])
async def test_a_defect_beside_the_calls_is_said_in_the_dialect_of_the_path(path, asked, said, defect, caplog):
    @get(path)
    async def fail() -> None:
        raise defect

    plane = Litestar([fail], exception_handlers=INFERENCE_EXCEPTION_HANDLERS, logging_config=None, openapi_config=None)
    ring = ContextRing(
        plane, state=PlaneState(cap=9), clock=ManualClock(), refuse=refuse_inference, allowed_hosts=("*",)
    )
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"host", b"h"), *asked.items()]
    scope = {"type": "http", "path": path, "raw_path": path.encode(), "method": "GET", "headers": headers}
    await ring(
        {**scope, "query_string": b"", "http_version": "1.1", "server": ("h", 80), "client": None}, receive, send
    )
    assert sent[0]["status"] == 500
    request_id = dict(sent[0]["headers"])[b"x-request-id"].decode()
    body = b"".join(message.get("body", b"") for message in sent)
    assert b"a secret" not in body
    error = msgspec.json.decode(body)["error"]
    assert {name: error[name] for name in said} == said
    [logged] = [record for record in caplog.records if record.name == "gateway.http"]
    assert request_id in logged.getMessage()
    assert logged.exc_info[1] is defect
