"""What agents send, in every dialect, in the form that each vendor takes: what it would refuse is not sent."""

import copy
import json
from typing import Any

import pytest

from matrix.cells import CLIENTS, PROVIDERS, Client, Provider, dialect_of, parsed, target_of
from matrix.features import PNG

CLIENT = {client.relay: client for client in CLIENTS}
PROVIDER = {provider.title: provider for provider in PROVIDERS}
CHAT = ("OpenAI", "Azure", "Hugging Face", "vLLM")
SESSION = "user_" + "a" * 64 + "_account__session_" + "b" * 36
DIGEST = 64
LONG_ID = "chatcmpl-tool-" + "0123456789abcdef" * 4

CLAUDE_CODE: dict[str, Any] = {
    "model": "public",
    "max_tokens": 32_000,
    "system": [{"type": "text", "text": "You are an agent", "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": SESSION},
    "tools": [
        {
            "name": "Read",
            "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
            "input_examples": [{"path": "a.png"}],
        },
        {"name": "List", "input_schema": {"type": "object"}},
    ],
    "messages": [
        {"role": "user", "content": "Look"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "unsigned-thought", "signature": ""},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a.png"}},
                {"type": "tool_use", "id": LONG_ID, "name": "List", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": LONG_ID, "is_error": True, "content": "no such folder"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "text", "text": "Be brief"},
            ],
        },
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "of-no-use", "signature": "theirs"}]},
        {"role": "user", "content": "Go on"},
    ],
}


def call(given: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": given, "type": "function", "function": {"name": name, "arguments": arguments}}


def said(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def sent(relay: str, title: str, document: dict[str, Any], *, model: str | None = None) -> tuple[Any, tuple[str, ...]]:
    client: Client = CLIENT[relay]
    provider: Provider = PROVIDER[title]
    provider = provider if model is None else provider._replace(model=model)
    request = parsed(client, copy.deepcopy(document))
    asked = dialect_of(provider.adapter, provider.options).encode_chat(request, target_of(provider))
    return json.loads(asked.body), asked.dropped


def chat(*messages: dict[str, Any], tools: tuple[str, ...] = ("f",)) -> dict[str, Any]:
    declared = [{"type": "function", "function": {"name": name}} for name in tools]
    return {"model": "public", "messages": list(messages), **({"tools": declared} if declared else {})}


# --- Claude Code at a provider that speaks chat completions


@pytest.mark.parametrize("title", CHAT)
def test_what_a_tool_shows_is_shown_by_the_user_behind_all_results(title: str):
    body, dropped = sent("anthropic.messages", title, CLAUDE_CODE)
    assert [message["role"] for message in body["messages"]] == [
        *("system", "user", "assistant", "tool", "tool", "user", "user")
    ]
    results = body["messages"][3:5]
    assert [type(result["content"]) for result in results] == [str, str]
    label, image, text = body["messages"][5]["content"]
    assert label["text"] == "The tool call toolu_1 returned:"
    assert image["image_url"]["url"].endswith(PNG)
    assert text["text"] == "Be brief"
    assert {"is_error", "tools.input_examples", "cache_control"} <= set(dropped)


@pytest.mark.parametrize("title", CHAT)
def test_ids_are_as_short_as_openai_wants_them_and_the_same_in_call_and_result(title: str):
    body, _ = sent("anthropic.messages", title, CLAUDE_CODE)
    calls = [one["id"] for one in body["messages"][2]["tool_calls"]]
    assert [len(given) <= 40 for given in calls] == [True, True]
    assert {message["tool_call_id"] for message in body["messages"][3:5]} == set(calls)


def test_ids_are_as_short_as_the_responses_api_wants_them():
    body, _ = sent("anthropic.messages", "OpenAI, by Responses", CLAUDE_CODE)
    ids = [item["call_id"] for item in body["input"] if "call_id" in item]
    assert max(map(len, ids)) <= 64
    assert sorted(ids[:2]) == sorted(ids[2:])


@pytest.mark.parametrize("title", ["OpenAI", "OpenAI, by Responses", "Azure"])
def test_a_user_of_a_long_name_is_told_by_its_digest(title: str):
    body, _ = sent("anthropic.messages", title, CLAUDE_CODE)
    again, _ = sent("anthropic.messages", title, CLAUDE_CODE)
    other, _ = sent("anthropic.messages", title, {**CLAUDE_CODE, "metadata": {"user_id": SESSION + "c"}})
    assert len(body["user"]) == DIGEST
    assert again["user"] == body["user"] != other["user"]


def test_other_servers_get_the_name_as_it_is():
    body, _ = sent("anthropic.messages", "vLLM", CLAUDE_CODE)
    assert body["user"] == SESSION


@pytest.mark.parametrize("title", [*CHAT, "OpenAI, by Responses"])
def test_a_tool_without_parameters_says_that_it_has_none(title: str):
    body, _ = sent("anthropic.messages", title, CLAUDE_CODE)
    tool = body["tools"][1]
    assert tool.get("function", tool)["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("title", ["OpenAI", "OpenAI, by Responses"])
@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 4_096}, {"type": "disabled"}])
def test_a_model_that_never_thinks_is_not_told_how_hard(title: str, thinking: dict[str, Any]):
    document = {**CLAUDE_CODE, "thinking": thinking}
    body, dropped = sent("anthropic.messages", title, document, model="gpt-4.1-mini")
    assert not body.keys() & {"reasoning_effort", "reasoning", "include"}
    assert ("reasoning_effort" in dropped) == (thinking["type"] == "enabled")
    body, dropped = sent("anthropic.messages", title, document)
    assert body.keys() & {"reasoning_effort", "reasoning"}
    assert "reasoning_effort" not in dropped


def test_reasoning_that_nobody_signs_goes_back_to_who_wants_it():
    deepseek = Provider("DeepSeek", "deepseek", "deepseek-v4-pro")
    request = parsed(CLIENT["anthropic.messages"], copy.deepcopy(CLAUDE_CODE))
    dialect = dialect_of(deepseek.adapter, deepseek.options)
    body = json.loads(dialect.encode_chat(request, target_of(deepseek)).body)
    assert body["messages"][2]["reasoning_content"] == "unsigned-thought"
    assert "of-no-use" not in json.dumps(body)
    for title in CHAT:
        assert "thought" not in json.dumps(sent("anthropic.messages", title, CLAUDE_CODE)[0]["messages"])


# --- Codex


def codex(*items: dict[str, Any], tools: bool = True) -> dict[str, Any]:
    declared = [{"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}]
    return {
        "model": "public",
        "store": False,
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "tools": declared if tools else [],
        "input": [{"role": "developer", "content": "Rules"}, {"role": "user", "content": "Go"}, *items],
    }


ASKED = [{"type": "function_call", "call_id": f"c{n}", "name": "shell", "arguments": "{}"} for n in (1, 2)]
ANSWERED = [{"type": "function_call_output", "call_id": f"c{n}", "output": f"done {n}"} for n in (1, 2)]
MEANWHILE = {"role": "user", "content": "Hurry"}


@pytest.mark.parametrize("title", ["vLLM", "Mistral", "Cohere", "Hugging Face"])
def test_results_stand_right_behind_their_calls_whatever_was_said_between(title: str):
    body, _ = sent("openai.responses", title, codex(*ASKED, ANSWERED[1], MEANWHILE, ANSWERED[0]))
    roles = [message["role"] for message in body["messages"]]
    at = next(at for at, message in enumerate(body["messages"]) if message.get("tool_calls"))
    assert roles[at : at + 3] == ["assistant", "tool", "tool"]
    assert body["messages"][-1]["content"] == "Hurry"


def test_gemini_gets_all_answers_before_what_else_the_user_says():
    body, _ = sent("openai.responses", "Gemini", codex(*ASKED, ANSWERED[1], MEANWHILE, ANSWERED[0]))
    assert [next(iter(part)) for part in body["contents"][-1]["parts"]] == [
        *("functionResponse", "functionResponse", "text")
    ]


@pytest.mark.parametrize("title", ["vLLM", "Hugging Face", "Gemini"])
def test_a_choice_among_no_tools_is_not_said(title: str):
    body, _ = sent("openai.responses", title, codex(tools=False))
    assert not body.keys() & {"tools", "tool_choice", "parallel_tool_calls", "toolConfig"}


def test_a_server_whose_templates_know_no_developer_hears_the_system():
    body, _ = sent("openai.responses", "vLLM", codex())
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("title", "shows"), [("Anthropic", True), ("Gemini", True), ("Bedrock", True), ("OpenAI", True), ("vLLM", False)]
)
def test_a_summary_of_the_reasoning_is_listed_only_where_none_is_shown(title: str, shows: bool):
    asked = {**codex(), "reasoning": {"effort": "medium", "summary": "auto"}}
    provider = PROVIDER[title]
    dialect = dialect_of(provider.adapter, provider.options)
    request = parsed(CLIENT["openai.responses"], asked)
    assert ("reasoning" not in dialect.encode_chat(request, target_of(provider)).dropped) is shows
    if title == "OpenAI":
        return  # there the wire has all of it
    odd = parsed(CLIENT["openai.responses"], {**asked, "reasoning": {**asked["reasoning"], "context": "auto"}})
    assert "reasoning" in dialect.encode_chat(odd, target_of(provider)).dropped


@pytest.mark.parametrize("title", ["Cohere", "Mistral"])
def test_an_empty_turn_of_the_assistant_is_left_out(title: str):
    body, _ = sent("openai.chat", title, chat(said("user", "a"), said("assistant", ""), said("user", "b")))
    assert [message["role"] for message in body["messages"]] == ["user", "user"]


# --- Agents of chat completions at Claude's

BLANKS = chat(
    said("user", "a"),
    said("assistant", " \n", tool_calls=[call("call_0_0"), call("")]),
    said("tool", "one", tool_call_id="call_0_0"),
    said("tool", "two", tool_call_id=""),
    said("assistant", "\n", reasoning_details=[]),
    said("user", "  "),
    said("assistant", None, tool_calls=[call("call_0_0", arguments='{"cut')]),
    said("tool", "three", tool_call_id="call_0_0"),
)


@pytest.mark.parametrize("title", ["Anthropic", "Bedrock"])
def test_claude_is_sent_no_blank_text_and_no_id_twice(title: str):
    body, _ = sent("openai.chat", title, BLANKS)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert '" \\n"' not in json.dumps(body)
    calls, results = [], []
    for turn in body["messages"]:
        for block in turn["content"] if isinstance(turn["content"], list) else []:
            use, result = block.get("toolUse", block), block.get("toolResult", block)
            calls += [use[name] for name in ("id", "toolUseId") if name in use and "input" in use]
            results += [result[name] for name in ("tool_use_id", "toolUseId") if name in result and "input" not in use]
    assert len(set(calls)) == 3
    assert calls == results
    assert all(calls)


@pytest.mark.parametrize("title", ["Anthropic", "Bedrock", "Gemini"])
def test_instructions_alone_are_what_the_user_says(title: str):
    body, _ = sent("openai.chat", title, chat(said("system", "Write a poem"), tools=()))
    (turn,) = body.get("messages") or body["contents"]
    assert turn["role"] == "user"
    assert "Write a poem" in json.dumps(turn)


def test_a_beginning_of_the_answer_ends_in_no_blank():
    body, _ = sent("openai.chat", "Anthropic", chat(said("user", "a"), said("assistant", "It is ")))
    assert body["messages"][-1] == said("assistant", "It is")


def test_a_turn_of_thoughts_alone_is_not_sent_to_claude():
    thought = said("assistant", "", reasoning_details=[{"type": "reasoning.text", "text": "hm", "signature": "x"}])
    thought["reasoning_details"][0]["format"] = "anthropic-claude-v1"
    body, _ = sent("openai.chat", "Anthropic", chat(said("user", "a"), thought, said("user", "b")))
    assert [turn["role"] for turn in body["messages"]] == ["user", "user"]


@pytest.mark.parametrize("title", ["Gemini", "Ollama", "Cohere", "OpenAI, by Responses", "Anthropic", "Bedrock"])
def test_who_speaks_is_listed_where_it_cannot_be_said(title: str):
    _, dropped = sent("openai.chat", title, chat(said("user", "a", name="bob")))
    assert "name" in dropped


def test_what_asks_for_nothing_is_no_reason_to_refuse():
    _, dropped = sent("openai.chat", "Anthropic", {**chat(said("user", "a")), "modalities": ["text"]})
    assert dropped == ()
    _, dropped = sent("anthropic.messages", "Gemini", {**CLAUDE_CODE, "mcp_servers": []})
    assert "mcp_servers" not in dropped


# --- Promises

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {**CLOSED, "required": []}


@pytest.mark.parametrize("title", ["OpenAI", "OpenAI, by Responses"])
@pytest.mark.parametrize(("schema", "is_strict"), [(CLOSED, True), (OPEN, False)])
def test_openai_is_asked_to_be_strict_where_it_can_be(title: str, schema: dict[str, Any], is_strict: bool):
    document = {
        **CLAUDE_CODE,
        "tools": [{"name": "f", "strict": True, "input_schema": schema}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    body, dropped = sent("anthropic.messages", title, document)
    tool = body["tools"][0]
    form = body["text"]["format"] if "text" in body else body["response_format"]["json_schema"]
    assert bool(tool.get("function", tool).get("strict")) is bool(form.get("strict")) is is_strict
    assert ("strict" in dropped) is not is_strict


def test_a_schema_of_a_client_of_openai_is_as_strict_as_it_says():
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": CLOSED}}
    body, _ = sent("openai.chat", "OpenAI, by Responses", {**chat(said("user", "a")), "response_format": form})
    assert "strict" not in body["text"]["format"]


@pytest.mark.parametrize("title", ["Anthropic", "Gemini", "Ollama"])
def test_what_a_function_says_beside_the_usual_is_listed(title: str):
    document = chat(said("user", "a"))
    document["tools"][0]["function"]["x"] = 1
    assert sent("openai.chat", title, document)[1] == ("tools.function",)


@pytest.mark.parametrize("title", ["Anthropic", "Gemini", "Bedrock"])
def test_jpeg_is_said_by_its_registered_name(title: str):
    image = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA"}}
    body, _ = sent("openai.chat", title, chat(said("user", [image])))
    assert "image/jpg" not in json.dumps(body)
    assert "jpeg" in json.dumps(body)


@pytest.mark.parametrize(
    ("model", "rests"), [("gemini-3-pro-preview", False), ("gemini-2.5-pro", False), ("gemini-2.5-flash", True)]
)
def test_a_wish_not_to_think_is_listed_where_a_model_always_does(model: str, rests: bool):
    body, dropped = sent("openai.chat", "Gemini", {**chat(said("user", "a")), "reasoning_effort": "none"}, model=model)
    assert ("reasoning_effort" not in dropped) is rests
    assert not body["generationConfig"]["thinkingConfig"].get("includeThoughts")
