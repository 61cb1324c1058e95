"""The adapters that ship pass the contract that third parties' adapters must pass."""

import msgspec
import pytest

from providers.catalog import Quirks
from providers.echo.plugin import echo_plugin
from providers.errors import ProviderError
from providers.http.adapter import HttpAdapter
from providers.openai.chunks import ChunkDecoder
from providers.openai.plugin import OpenAIDialect
from providers.plugin import Plugin
from providers.registry import Registry
from providers.testing import Script
from providers.testing.chat import chat_reply
from providers.testing.contract import AdapterContract, Case, HttpAdapterContract
from providers.types import (
    ChatRequest,
    Choice,
    Completion,
    Message,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    Usage,
)

REGISTRY = Registry()
CREATED = 1_790_000_000
TEXT = "hello big world"
WEATHER = Tool(name="weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})


def _case(name: str, *, script: Script, choices: list[Choice], usage: Usage, stream: bool, **extra) -> Case:
    request = ChatRequest(
        model="public-name",
        messages=[Message(role="user", content=[TextPart(text=TEXT)])],
        dialect="openai",
        stream=stream,
        **extra,
    )
    sent = {"model": "contract-model", "messages": [{"role": "user", "content": TEXT}]}
    if request.n > 1:
        sent["n"] = request.n
    if request.tools:
        sent["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER.parameters}}]
    if stream:
        sent |= {"stream": True, "stream_options": {"include_usage": True}}
    reply = chat_reply(sent, script=script, number=1)
    completion = Completion(id="chatcmpl-fake-1", model="contract-model", created=CREATED, choices=choices, usage=usage)
    return Case(
        name=f"{name}, {'streamed' if stream else 'whole'}",
        source="openai 3.54: types.chat.ChatCompletion",
        request=request,
        answer=b"".join(frame.data for frame in reply.frames),
        completion=completion,
        content_type=reply.content_type,
        sent=sent,
    )


def _says(text: str, index: int = 0) -> Choice:
    return Choice(index=index, content=[TextPart(text=text)], finish_reason="stop")


def _cases(*, stream: bool) -> list[Case]:
    call = ToolCallPart(id="call_fake_0", name="weather", arguments='{"city":"text"}')
    thoughts = [ThinkingPart(text="let me think"), TextPart(text=TEXT)]
    return [
        _case("text", script=Script(), choices=[_says(TEXT)], usage=_usage(3), stream=stream),
        _case("crlf", script=Script(line_end="\r\n"), choices=[_says(TEXT)], usage=_usage(3), stream=stream),
        _case("comments", script=Script(comments=True), choices=[_says(TEXT)], usage=_usage(3), stream=stream),
        _case(
            "two choices",
            script=Script(),
            choices=[_says(TEXT), _says(f"[1] {TEXT}", 1)],
            usage=_usage(7),
            stream=stream,
            n=2,
        ),
        _case(
            "a tool",
            script=Script(),
            choices=[Choice(index=0, content=[call], finish_reason="tool_calls")],
            usage=_usage(4),
            stream=stream,
            tools=[WEATHER],
        ),
        _case(
            "reasoning",
            script=Script(reasoning="let me think"),
            choices=[Choice(index=0, content=thoughts, finish_reason="stop")],
            usage=_usage(6, reasoning=3),
            stream=stream,
        ),
    ]


def _usage(output: int, *, reasoning: int = 0) -> Usage:
    return Usage(input_tokens=6, output_tokens=output, reasoning_tokens=reasoning)


RECORDED = [*_cases(stream=False), *_cases(stream=True)]


class TestOpenAI(HttpAdapterContract):
    plugin = REGISTRY.find("openai")
    cases = RECORDED


class TestAzure(HttpAdapterContract):
    plugin = REGISTRY.find("azure")
    cases = RECORDED


class TestAzureByDeployment(TestAzure):
    def options(self) -> msgspec.Struct:
        return msgspec.convert({"api_version": "2024-10-21"}, self.plugin.options)


class TestEcho(AdapterContract):
    plugin = echo_plugin


# --- The contract itself can fail


class _Leaky(OpenAIDialect):
    """Puts the credential where logs would keep it."""

    def url(self, target, path):
        return f"{target.base_url}{path}?key={target.credential.reveal()}"


class _Lax(OpenAIDialect):
    """Takes a cut stream for a whole one."""

    def chat_decoder(self):
        return _NeverInterrupted()


class _NeverInterrupted(ChunkDecoder):
    def finish(self):
        return []


class _Forgetful(OpenAIDialect):
    """Shares one decoder between all streams."""

    def __init__(self, quirks):
        super().__init__(quirks)
        self._only = ChunkDecoder()

    def chat_decoder(self):
        return self._only


class _Crashing(OpenAIDialect):
    """Reads refusals carelessly."""

    def decode_error(self, status, headers, body):
        raise ValueError(msgspec.json.decode(body))


@pytest.mark.parametrize(
    ("dialect", "test"),
    [
        (_Leaky, "test_the_credential_goes_in_a_header_only"),
        (_Lax, "test_a_stream_that_is_cut_is_never_taken_for_a_whole_one"),
        (_Forgetful, "test_streams_share_no_state"),
        (_Crashing, "test_each_status_is_an_error_of_its_kind"),
    ],
)
def test_an_adapter_that_breaks_the_contract_fails_it(dialect, test):
    class Contract(HttpAdapterContract):
        plugin = Plugin(name="broken", open=lambda sender, _: HttpAdapter(dialect(Quirks()), sender))
        cases = RECORDED

    with pytest.raises((AssertionError, LookupError, ValueError, ProviderError)):
        getattr(Contract(), test)()


def test_a_contract_without_cases_proves_nothing_and_says_so():
    class Contract(HttpAdapterContract):
        plugin = REGISTRY.find("openai")
        cases = ()

    with pytest.raises(AssertionError):
        Contract().test_cases_are_recorded()
