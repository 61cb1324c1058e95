"""An ensemble is a model in every dialect, for the vendors' own clients too."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from faults.fanout.panel import LAST, LEGS, VERDICT, Client, Panel, panel
from google.genai import Client as GoogleClient
from google.genai.types import GenerateContentConfig, HttpOptions
from openai import NotFoundError, OpenAI
from outside.caller import CHAT
from outside.forms import FORMS, Form

from providers.testing import Script

FAST = Script(text="good from fast")
SLOW = Script(text="good from slow", head_delay_ms=2_000)
HANG = Script(fault="stall")
JUDGE = Script(text=VERDICT % "A")
FUSED = Script(text="both fused")
MEMBERS = {"members": list(LEGS)}
ENSEMBLES = {
    "race": {"strategy": "race", **MEMBERS},
    "hedge": {"strategy": "hedge", "after_s": 0.1, **MEMBERS},
    "first_valid": {"strategy": "first_valid", "check": {"regex": "^good"}, **MEMBERS},
    "quorum": {"strategy": "quorum", "quorum": 2, **MEMBERS},
    "best_of": {"strategy": "best_of", "judge": LAST, "quorum": 2, **MEMBERS},
    "mixture": {"strategy": "mixture", "fuser": LAST, "quorum": 2, **MEMBERS},
    "cascade": {"strategy": "cascade", **MEMBERS},
    "compare": {"strategy": "compare", "deadline_s": 0.5, **MEMBERS},
}
DOES = {"hedge": (HANG, FAST, FAST), "cascade": (Script(status=500), FAST, FAST)}
LASTS = {"best_of": JUDGE, "mixture": FUSED}
WORDS = "say it [[script {}]]"


@pytest.fixture(scope="module")
def found() -> Iterator[Panel]:
    with panel(ensembles=ENSEMBLES) as made:
        yield made


def told(found: Panel, name: str) -> str:
    return found.tell(*DOES.get(name, (FAST, FAST, HANG)), last=LASTS.get(name))


@pytest.mark.parametrize("name", [name for name in ENSEMBLES if name != "compare"])
async def test_every_strategy_speaks_every_dialect(found: Panel, name: str):
    for form in FORMS:
        script = told(found, name)
        body = form.body(name, WORDS.format(script)) | {"model": name}
        if form.name.startswith("gemini"):
            del body["model"]
        answer = await _ask(found, form, name, body)
        heard = form.read(answer.text)
        assert (heard.text, heard.ends) == ("both fused" if name == "mixture" else FAST.text, "stop"), form
        assert len(found.rows(answer, int(answer.headers["x-gateway-attempts"]))) >= 2


async def _ask(found: Panel, form: Form, name: str, body: dict[str, Any]) -> Any:
    client = Client(found.gateway, found.caller.key, body, path=form.path(name))
    answer = await (await client.send()).listen()
    assert (answer.status, answer.fanout.split(";")[0]) == (200, name), (form, answer.text)
    return answer


async def test_answers_of_all_are_choices_where_there_are_any_and_else_one_text(found: Panel):
    script = found.tell(FAST, Script(text="another"), HANG)
    whole = await found.ask(None, script, path=CHAT, model="compare")
    choices = [choice["message"]["content"] for choice in whole.answer["choices"]]
    assert choices == [FAST.text, "another"]
    assert whole.answer["usage"]["completion_tokens"] == 4
    streamed = await found.ask(None, script, path=CHAT, model="compare", stream=True)
    parts = [choice for frame in streamed.frames for choice in frame["choices"]]
    texts = ["".join(part["delta"].get("content") or "" for part in parts if part["index"] == at) for at in (0, 1)]
    assert texts == choices
    response = await found.ask(None, script, path="/v1/responses", model="compare", input=WORDS.format(script))
    assert response.status == 200, response.text
    text = json.loads(response.text)["output"][0]["content"][0]["text"]
    assert "## a" in text
    assert "another" in text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_raced_answer_of_the_same_dialect_passes_through(found: Panel, stream: bool):
    for name in ("race", "cascade", "hedge"):
        answer = await found.ask(None, told(found, name), path=CHAT, model=name, stream=stream)
        assert "fp_fake" in answer.text, "the bytes are the provider's"


async def test_text_completions_are_answered_too(found: Panel):
    script = told(found, "best_of")
    answer = await found.ask(None, script, path="/v1/completions", model="best_of", prompt=WORDS.format(script))
    assert (answer.status, json.loads(answer.text)["choices"][0]["text"]) == (200, FAST.text), answer.text


# --- The vendors' own clients


def test_openais_client(found: Panel):
    with OpenAI(base_url=f"{found.gateway.base_url}/v1", api_key=found.caller.key, max_retries=0) as client:
        asked: Any = [{"role": "user", "content": WORDS.format(told(found, "best_of"))}]
        whole = client.chat.completions.create(model="best_of", messages=asked)
        assert whole.choices[0].message.content == FAST.text
        chunks = list(client.chat.completions.create(model="best_of", messages=asked, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == FAST.text
        stored = client.responses.create(model="mixture", input=WORDS.format(told(found, "mixture")), store=True)
        assert stored.output_text == FUSED.text
        assert client.responses.retrieve(stored.id).output_text == FUSED.text
        more = client.responses.create(
            model="race", input=WORDS.format(told(found, "race")), previous_response_id=stored.id
        )
        assert client.responses.retrieve(more.id).output_text == more.output_text == FAST.text
        with client.responses.stream(model="best_of", input=WORDS.format(told(found, "best_of"))) as events:
            final = events.until_done().get_final_response()
        assert client.responses.retrieve(final.id).output_text == FAST.text
        client.responses.delete(final.id)
        with pytest.raises(NotFoundError):
            client.responses.retrieve(final.id)


def test_anthropics_client(found: Panel):
    with Anthropic(base_url=found.gateway.base_url, api_key=found.caller.key, max_retries=0) as client:
        asked: Any = [{"role": "user", "content": WORDS.format(told(found, "mixture"))}]
        whole = client.messages.create(model="mixture", max_tokens=100, messages=asked)
        assert [block.text for block in whole.content if block.type == "text"] == [FUSED.text]
        with client.messages.stream(model="mixture", max_tokens=100, messages=asked) as stream:
            assert stream.get_final_text() == FUSED.text


def test_googles_client(found: Panel):
    client = GoogleClient(api_key=found.caller.key, http_options=HttpOptions(base_url=found.gateway.base_url))
    contents, config = WORDS.format(told(found, "first_valid")), GenerateContentConfig(max_output_tokens=100)
    assert client.models.generate_content(model="first_valid", contents=contents, config=config).text == FAST.text
    stream = client.models.generate_content_stream(model="first_valid", contents=contents, config=config)
    assert "".join(part.text or "" for part in stream) == FAST.text
