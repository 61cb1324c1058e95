"""What a client of chat completions says goes through the canonical form, and comes out on its own wire as it was."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog import Quirks
from providers.openai.downstream import parse_chat
from providers.openai.plugin import OpenAIDialect
from providers.types import Target

TARGET = Target(provider="p", model="m", base_url="https://api.example.com/v1")
OPENAI = Quirks(is_openai=True, max_tokens_field="max_completion_tokens")

texts = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
numbers = st.floats(-2, 2, width=32).map(lambda number: round(number, 3))


def said(**fields):
    """Return a strategy of objects in which each member of `fields` may be absent."""
    return st.fixed_dictionaries({}, optional=fields)


def of_type(kind, **fields):
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


text_parts = of_type("text", text=texts)
images = st.one_of(
    st.builds(lambda name: f"https://example.com/{name}.png", names), st.just("data:image/png;base64,iVBORw0KGgo=")
)
parts = st.one_of(
    text_parts,
    of_type(
        "image_url",
        image_url=st.builds(
            lambda url, more: {"url": url, **more}, images, said(detail=st.sampled_from(["low", "high"]))
        ),
    ),
    of_type("input_audio", input_audio=st.fixed_dictionaries({"data": st.just("UklGRg=="), "format": st.just("wav")})),
    of_type("file", file=st.fixed_dictionaries({"file_id": names})),
    of_type("a_part_of_tomorrow", inside=values),
)
# One text part alone is the same as the text itself, and is said so.
contents = texts | st.lists(parts, min_size=2, max_size=3)
functions = of_type(
    "function", id=names, function=st.fixed_dictionaries({"name": names, "arguments": st.just('{"a":1}')})
)
customs = of_type("custom", id=names, custom=st.fixed_dictionaries({"name": names, "input": texts}))
calls = st.lists(functions | customs, min_size=1, max_size=3)
named = said(name=names)
users = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["system", "developer", "user"]),
    contents,
    named,
)
assistants = st.one_of(
    st.builds(lambda content, more: {"role": "assistant", "content": content, **more}, texts, named),
    st.builds(
        lambda content, made, more: {"role": "assistant", "content": content, "tool_calls": made, **more},
        st.none() | texts,
        calls,
        said(reasoning_content=texts),
    ),
    st.builds(lambda text: {"role": "assistant", "content": None, "refusal": text}, texts),
)
answers = st.builds(
    lambda call, content: {"role": "tool", "tool_call_id": call, "content": content},
    names,
    texts | st.lists(text_parts, min_size=2, max_size=2),
)
schemas = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(names, values, max_size=2)})
tools = st.one_of(
    of_type(
        "function",
        function=st.builds(
            lambda name, schema, more: {"name": name, "parameters": schema, **more},
            names,
            schemas,
            said(description=texts, strict=st.booleans()),
        ),
    ),
    of_type("web_search", filters=values),
)
documents = st.builds(
    lambda messages, more, extras: {"model": "m", "messages": messages, **extras, **more},
    st.lists(users | assistants | answers, min_size=1, max_size=5),
    said(
        temperature=numbers,
        top_p=numbers,
        frequency_penalty=numbers,
        presence_penalty=numbers,
        seed=st.integers(0, 2**40),
        stop=st.lists(texts, min_size=1, max_size=4),
        n=st.integers(2, 4),
        max_completion_tokens=st.integers(1, 9_999),
        logprobs=st.booleans(),
        top_logprobs=st.integers(0, 9),
        logit_bias=st.dictionaries(st.just("42"), st.integers(-100, 100), min_size=1, max_size=1),
        tools=st.lists(tools, min_size=1, max_size=3),
        tool_choice=st.sampled_from(["auto", "none", "required"])
        | of_type("function", function=st.fixed_dictionaries({"name": names})),
        parallel_tool_calls=st.booleans(),
        response_format=st.one_of(
            of_type("json_object"),
            of_type("json_schema", json_schema=st.fixed_dictionaries({"name": names, "schema": schemas})),
        ),
        reasoning_effort=st.sampled_from(["low", "medium", "high"]),
        user=names,
        metadata=st.dictionaries(names, texts, min_size=1, max_size=2),
    ),
    st.dictionaries(names.map("x_".__add__), values.filter(lambda value: value is not None), max_size=2),
)


@given(documents)
def test_a_request_comes_out_as_it_went_in(document):
    asked = OpenAIDialect(OPENAI).encode_chat(parse_chat(document), TARGET)
    assert msgspec.json.decode(asked.body) == document
    assert asked.dropped == ()
