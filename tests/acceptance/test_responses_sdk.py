"""OpenAI's SDK speaks the Responses dialect through a served gateway, to providers that have none of their own."""

import openai
import pytest
from openai import OpenAI

FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
MODELS = pytest.mark.parametrize("model", ["echo", "fake-model"])


@MODELS
def test_answers(client: OpenAI, model: str):
    answer = client.responses.create(model=model, input="say hello to the gateway", instructions="Be brief.")
    assert answer.output_text
    assert (answer.status, answer.model, answer.instructions) == ("completed", model, "Be brief.")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@MODELS
def test_streams_the_same(client: OpenAI, model: str):
    whole = client.responses.create(model=model, input="say hello to the gateway").output_text
    with client.responses.stream(model=model, input="say hello to the gateway") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


def test_what_an_agent_sends_is_taken(client: OpenAI):
    answer = client.responses.with_raw_response.create(
        model="fake-model",
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Edit."}]},
            {"role": "user", "content": "Fix it"},
            {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"},
        ],
        tools=[FUNCTION, PATCH, {"type": "web_search"}],
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
        reasoning={"effort": "low"},
    )
    assert answer.parse().output_text
    dropped = answer.headers["x-gateway-dropped-params"].split(", ")
    assert set(dropped) == {"prompt_cache_key", "tools.web_search"}


@MODELS
def test_goes_on_from_an_earlier_response(client: OpenAI, model: str):
    first = client.responses.create(model=model, input="one")
    second = client.responses.create(model=model, input="two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert client.responses.retrieve(second.id).output_text == second.output_text
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=model, input="three", previous_response_id=first.id)


@pytest.mark.parametrize("stream", [False, True])
def test_a_number_beyond_all_is_answered_and_kept(client: OpenAI, stream: bool):
    huge = 2**64
    if stream:
        events = list(client.responses.create(model="fake-model", input="hi", max_output_tokens=huge, stream=True))
        assert events[-1].type == "response.completed"
        made = events[-1].response
    else:
        made = client.responses.create(model="fake-model", input="hi", max_output_tokens=huge)
    assert made.max_output_tokens == huge
    assert client.responses.retrieve(made.id).max_output_tokens == huge
    assert client.responses.create(model="fake-model", input="go on", previous_response_id=made.id).output_text


def test_a_streamed_response_is_kept_too(client: OpenAI):
    with client.responses.stream(model="echo", input="keep me") as stream:
        final = stream.get_final_response()
    assert client.responses.retrieve(final.id).output_text == "keep me"


def test_what_is_not_to_be_stored_is_not_there(client: OpenAI):
    answer = client.responses.create(model="echo", input="forget me", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_a_refusal_names_the_field(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(
            model="echo",
            input=[{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/a.png"}]}],
        )
    assert caught.value.param == "input[0].content[0].image_url"
