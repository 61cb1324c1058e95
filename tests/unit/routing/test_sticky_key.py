"""Keys of what keeps to one target: as a conversation grows they stay, in every dialect."""

import time
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.routing.sticky import sticky_key

ORGANIZATION, OTHER = UUID(int=1), UUID(int=2)
TOOL = {"name": "read", "description": "Reads a file.", "parameters": {"type": "object"}}


def key(document, sticky="prefix", *, organization_id=ORGANIZATION, session=None):
    return sticky_key(sticky, organization_id=organization_id, session=session, document=document)


def chat(*turns, system="Be kind.", tools=(TOOL,)):
    return {
        "messages": [{"role": "system", "content": system}, *turns],
        "tools": [{"type": "function", "function": tool} for tool in tools],
    }


def responses(*turns, system="Be kind.", tools=(TOOL,)):
    return {"instructions": system, "input": [*turns], "tools": [{"type": "function", **tool} for tool in tools]}


def messages(*turns, system="Be kind.", tools=(TOOL,)):
    return {"system": system, "messages": [*turns], "tools": [{"name": tool["name"]} for tool in tools]}


def gemini(*turns, system="Be kind.", tools=(TOOL,)):
    roles = {"user": "user", "assistant": "model"}
    return {
        "systemInstruction": {"parts": [{"text": system}]},
        "contents": [{"role": roles.get(turn["role"], "user"), "parts": [{"text": turn["content"]}]} for turn in turns],
        "tools": [{"functionDeclarations": list(tools)}],
    }


DIALECTS = [chat, responses, messages, gemini]
dialects = pytest.mark.parametrize("dialect", DIALECTS)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


FIRST = user("Why is the sky blue?")


def test_nothing_keeps_where_nothing_is_asked_to():
    assert key(chat(FIRST), "none", session="s") is None


def test_a_session_is_the_key_whatever_is_said():
    assert key(chat(FIRST), "session", session="s") == key({}, "session", session="s")
    assert key({}, "session", session="s") != key({}, "session", session="t")
    assert key({}, "session", session="s") != key({}, "session", session="s", organization_id=OTHER)


@pytest.mark.parametrize("session", [None, ""])
def test_without_a_session_nothing_keeps(session):
    assert key(chat(FIRST), "session", session=session) is None


@dialects
@given(st.lists(st.text(max_size=9), max_size=6))
def test_a_conversation_keeps_its_key_as_it_grows(dialect, later):
    grown = [(assistant if at % 2 == 0 else user)(text) for at, text in enumerate(later)]
    assert key(dialect(FIRST)) == key(dialect(FIRST, *grown))


@dialects
def test_another_beginning_has_another_key(dialect):
    keys = [
        key(dialect(FIRST)),
        key(dialect(user("Why is the sky red?"))),
        key(dialect(FIRST, system="Be rude.")),
        key(dialect(FIRST, tools=(TOOL, {"name": "write"}))),
        key(dialect(FIRST, tools=())),
        key(dialect(FIRST), organization_id=OTHER),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)


documents = st.builds(
    lambda dialect, text, system: dialect(user(text), system=system),
    st.sampled_from(DIALECTS),
    st.text(min_size=1, max_size=9),
    st.text(max_size=9),
)


@given(documents, st.uuids(), st.uuids(), st.sampled_from(["prefix", "session"]), st.text(min_size=1, max_size=9))
def test_organizations_never_share_a_key(document, one, other, sticky, session):
    same = key(document, sticky, organization_id=one, session=session) == key(
        document, sticky, organization_id=other, session=session
    )
    assert same is (one == other)


def test_a_text_is_a_list_of_one_part():
    parts = [{"type": "text", "text": "Why is the sky blue?"}]
    assert key(messages(user(parts))) == key(messages(FIRST))
    assert key(messages(FIRST, system=[{"type": "text", "text": "Be kind."}])) == key(messages(FIRST))
    assert key(responses(user([{"type": "input_text", "text": "Why is the sky blue?"}]))) == key(responses(FIRST))
    assert key({**responses(), "input": "Why is the sky blue?"}) == key(responses(FIRST))


def test_a_mark_for_the_cache_may_move_on():
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "What is this?"}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}
    once = messages(user([text, picture | mark]))
    later = messages(user([text | mark, picture]), assistant("A cat."), user("Sure?"))
    assert key(once) == key(later)


def test_pictures_are_told_apart_however_their_members_are_ordered():
    def asked(data, names=("type", "source")):
        part = {"type": "image", "source": {"type": "base64", "data": data}}
        return key(messages(user([{"type": "text", "text": "What?"}, {name: part[name] for name in names}])))

    assert asked("aaaa") != asked("bbbb")
    assert asked("aaaa") == asked("aaaa", ("source", "type"))


def test_instructions_may_come_from_the_developer_in_several_messages():
    one = {"role": "developer", "content": "Be kind."}
    two = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    with_both = {"messages": [one, two, FIRST]}
    assert key(with_both) == key({"messages": [one, two, FIRST, assistant("Rayleigh."), user("Who?")]})
    assert len({key(with_both), key({"messages": [one, FIRST]}), key({"messages": [two, FIRST]})}) == 3


def test_what_is_no_message_is_no_first_message():
    reasoning = {"type": "reasoning", "summary": []}
    output = {"type": "function_call_output", "call_id": "c", "output": "42"}
    assert key(responses(reasoning, output, FIRST)) == key(responses(FIRST))


def test_a_turn_without_a_role_is_the_users():
    assert key({"contents": [{"parts": [{"text": "hi"}]}]}) == key(
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    )


def test_tools_that_vendors_have_are_told_by_their_type():
    search = [{"type": "web_search"}]
    assert key({"input": "hi", "tools": search}) != key({"input": "hi", "tools": [{"type": "code_interpreter"}]})


def test_a_client_that_names_its_key_knows_best():
    named = chat(FIRST) | {"prompt_cache_key": "mine"}
    assert key(named) == key(chat(user("Something else.")) | {"prompt_cache_key": "mine"})
    assert key(named) != key(chat(FIRST) | {"prompt_cache_key": "yours"})
    assert key(named) != key(named, organization_id=OTHER)
    assert key(chat(FIRST) | {"prompt_cache_key": ""}) == key(chat(FIRST) | {"prompt_cache_key": 7}) == key(chat(FIRST))


def test_no_key_is_made_of_another_kind():
    assert key({"prompt_cache_key": "mine"}) != key({}, "session", session="mine")


@pytest.mark.parametrize("document", [{}, {"messages": []}, {"input": [1, 2, 3]}, {"messages": [assistant("hi")]}])
def test_what_has_no_beginning_keeps_to_nothing(document):
    assert key(document) is None


def test_only_the_beginning_counts():
    assert key(chat(user("a" * 4_096 + "b"))) == key(chat(user("a" * 4_096 + "c")))
    assert key(chat(user("a" * 4_095 + "b"))) != key(chat(user("a" * 4_095 + "c")))
    assert key(chat(user(["a" * 4_096, "b"]))) == key(chat(user(["a" * 4_096, "c"])))


def test_text_that_is_no_text_is_taken():
    assert key(chat(user("\ud800"))) not in {None, key(chat(user("\ud801")))}
    assert key({}, "session", session="\ud800") is not None


names = st.sampled_from(["role", "content", "parts", "text", "type", "name", "function", "functionDeclarations", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
members = st.sampled_from(
    ["messages", "input", "contents", "instructions", "system", "systemInstruction", "tools", "prompt_cache_key"]
)


@given(st.dictionaries(members, values, max_size=4))
@example({"messages": [{"role": []}]})
@example({"tools": [{"name": [], "type": {}}], "input": {"text": {}}})
def test_any_document_has_a_key_or_none(document):
    found = key(document)
    assert found == key(document)
    assert found is None or len(found) == 16


def nested(depth):
    value = "deep"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "document",
    [
        chat(user([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000_000}}])),
        {"messages": [{"role": "system", "content": [{"type": "text", "text": ""}] * 10_000}] * 200_000},
        messages(user([[{"a": [[]] * 300_000}] * 300_000] * 300_000)),
        messages(user(nested(100_000))),
        {"tools": [{"functionDeclarations": [{"name": "n" * 10_000}] * 200_000}] * 1_000, "input": "hi"},
        {"input": "hi", "system": dict.fromkeys(map(str, range(100_000)), [""] * 100_000)},
    ],
    ids=["picture", "messages", "parts", "nested", "tools", "members"],
)
def test_a_key_costs_next_to_nothing_whatever_is_sent(document):
    def took_s():
        began = time.process_time()
        key(document)
        return time.process_time() - began

    assert min(took_s() for _ in range(20)) < 0.001
