"""One kept answer, given again in every dialect, whole and streamed; read with the vendors' own SDKs too."""

import itertools
from collections.abc import Iterator
from uuid import uuid4

import anthropic
import httpx
import openai
import pytest
from google import genai
from outside.caller import Caller
from outside.forms import CAP, CHAT_STREAM, FORMS, Form
from servers.caching import Stand, caching

MODEL = "fake-model"


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with caching() as running:
        yield running


@pytest.fixture(scope="module")
def caller(stand: Stand) -> Iterator[Caller]:
    with Caller(stand.gateway) as fresh:
        yield fresh


def ask(caller: Caller, form: Form, text: str) -> httpx.Response:
    answer = caller.post(form.body(MODEL, text), path=form.path(MODEL))
    assert answer.status_code == 200, answer.text
    return answer


def prompt() -> str:
    # Long enough that it is cut into pieces when it is given again.
    return f"{uuid4()} " + "wherever you look there are words that say nothing " * 12


@pytest.mark.parametrize("first", FORMS, ids=str)
def test_an_answer_is_given_again_in_every_form(stand: Stand, caller: Caller, first: Form) -> None:
    for again in FORMS:
        text, before = prompt(), stand.calls()
        made, kept = ask(caller, first, text), ask(caller, again, text)
        told = [answer.headers["x-gateway-cache"] for answer in (made, kept)]
        assert (told, stand.calls() - before) == (["miss", "exact"], 1), str(again)
        assert first.read(made.text) == again.read(kept.text), str(again)
        assert again.read(kept.text).text == text
        assert again.read(kept.text).ends == "stop"


def test_a_whole_answer_is_given_again_byte_for_byte(caller: Caller) -> None:
    for form in (form for form in FORMS if not form.is_streamed and form.name in {"chat", "messages", "gemini"}):
        text = prompt()
        first, again = (ask(caller, form, text) for _ in range(2))
        assert (first.text, again.headers["x-gateway-cache"]) == (again.text, "exact")


def test_no_form_meets_another_question(stand: Stand, caller: Caller) -> None:
    text, before = prompt(), stand.calls()
    for form in FORMS:
        ask(caller, form, f"{text} {form}")
    assert stand.calls() - before == len(FORMS)


def test_a_stream_without_usage_is_given_again_with_it_and_the_other_way_round(caller: Caller) -> None:
    for one, other in itertools.permutations((True, False)):
        text = prompt()
        bodies = [{**CHAT_STREAM.body(MODEL, text), "stream_options": {"include_usage": told}} for told in (one, other)]
        answers = [caller.post(body) for body in bodies]
        assert [answer.headers["x-gateway-cache"] for answer in answers] == ["miss", "exact"]
        assert ['"usage":{' in answer.text.replace(" ", "") for answer in answers] == [one, other]
        assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)


# --- The vendors' SDKs


def test_openai_reads_what_was_made_for_anthropic(stand: Stand, caller: Caller) -> None:
    text = prompt()
    said = [{"role": "user", "content": text}]
    with anthropic.Anthropic(base_url=stand.gateway.base_url, api_key=caller.key, max_retries=0) as client:
        made = client.messages.create(model=MODEL, max_tokens=CAP, messages=said)
    with openai.OpenAI(base_url=stand.gateway.openai_url, api_key=caller.key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model=MODEL, max_tokens=CAP, messages=said, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert stream.response.headers["x-gateway-cache"] == "exact"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == made.content[0].text == text
    assert chunks[-1].usage.completion_tokens == made.usage.output_tokens > 0
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_anthropic_reads_what_was_made_for_google(stand: Stand, caller: Caller) -> None:
    text = prompt()
    client = genai.Client(api_key=caller.key, http_options={"base_url": stand.gateway.base_url})
    made = client.models.generate_content(model=MODEL, contents=text, config={"max_output_tokens": CAP})
    with (
        anthropic.Anthropic(base_url=stand.gateway.base_url, api_key=caller.key, max_retries=0) as reader,
        reader.messages.stream(model=MODEL, max_tokens=CAP, messages=[{"role": "user", "content": text}]) as stream,
    ):
        message = stream.get_final_message()
        assert stream.response.headers["x-gateway-cache"] == "exact"
    assert message.content[0].text == made.text == text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == made.usage_metadata.candidates_token_count > 0


def test_google_reads_what_was_streamed_to_openai(stand: Stand, caller: Caller) -> None:
    text, before = prompt(), stand.calls()
    with (
        openai.OpenAI(base_url=stand.gateway.openai_url, api_key=caller.key, max_retries=0) as sdk,
        sdk.responses.stream(
            model=MODEL, max_output_tokens=CAP, store=False, input=[{"role": "user", "content": text}]
        ) as stream,
    ):
        made = stream.get_final_response()
    client = genai.Client(api_key=caller.key, http_options={"base_url": stand.gateway.base_url})
    parts = list(client.models.generate_content_stream(model=MODEL, contents=text, config={"max_output_tokens": CAP}))
    assert "".join(part.text or "" for part in parts) == made.output_text == text
    assert parts[-1].usage_metadata.candidates_token_count == made.usage.output_tokens
    assert stand.calls() - before == 1
