"""Reasoning that a vendor signs, on its way through a client and back: answered, sent again with the tool's result."""

import re
from typing import Any
from uuid import UUID

import msgspec
from accounting.attempts import begun

from app.domain.keys.principal import Principal
from app.pipeline.exchange import Exchange
from app.routing.table import Route
from matrix.cells import Cell, Client, Provider, call_of, dialect_of, parsed, target_of
from matrix.features import QUESTION, SIGNATURE, WEATHER, Feature, call, request_of
from providers import signatures
from providers.errors import RequestRefused
from providers.types import Choice, Completion, ReasoningOptions, ThinkingPart, Usage

FEATURE = Feature("signed reasoning", fields={"tools": [WEATHER], "reasoning": ReasoningOptions(effort="high")})


def answer_of(signer: str) -> Completion:
    """Return an answer that thinks, signed, and calls a tool; Gemini signs the call."""
    signature = signatures.sign(signer, SIGNATURE)
    if signer == "gemini":
        content = [ThinkingPart(text="thought-mark"), call(1, signature=signature)]
    else:
        content = [ThinkingPart(text="thought-mark", signature=signature), call(1)]
    choice = Choice(index=0, content=content, finish_reason="tool_calls")
    return Completion(id="id_1", model="m", created=1, choices=[choice], usage=Usage(input_tokens=3, output_tokens=4))


def said(client: Client, document: dict[str, Any], completion: Completion) -> dict[str, Any]:
    """Return an answer as the client's dialect says it."""
    exchange = Exchange(
        request_id="0190b2c47d1e7c3a9f00000000000000",
        principal=Principal(key_id=UUID(int=1), organization_id=UUID(int=2)),
        operation=client.wire.operation,
        route=Route(name="public", label="public", targets=(), owned_by="p"),
        body=b"{}",
        document=document,
        started_ns=0,
        asked=client.wire.read(document, call_of(client)),
    )
    begun(exchange, "p")
    renderer = client.wire.operation.renderer
    assert renderer is not None
    answer: dict[str, Any] = msgspec.json.decode(renderer.whole(exchange, completion))
    return answer


def continued(client: Client, document: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return the next request: the answer put into the history as a client does it, and the tool's result."""
    match client.dialect:
        case "openai":
            message = answer["output"] if client.relay == "llm.chat" else answer["choices"][0]["message"]
            message = {name: value for name, value in message.items() if name != "finish_reason"}
            turns = [message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}]
            return {**document, "messages": [*document["messages"], *turns]}
        case "responses":
            given = document["input"]
            items = [{"role": "user", "content": given}] if isinstance(given, str) else given
            name = next(item["call_id"] for item in answer["output"] if item["type"] == "function_call")
            result = {"type": "function_call_output", "call_id": name, "output": "sunny"}
            return {**document, "input": [*items, *answer["output"], result]}
        case "anthropic":
            name = next(block["id"] for block in answer["content"] if block["type"] == "tool_use")
            result = {"type": "tool_result", "tool_use_id": name, "content": "sunny"}
            turns = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]
            return {**document, "messages": [*document["messages"], *turns]}
        case "gemini":
            content = answer["candidates"][0]["content"]
            name = next(part["functionCall"] for part in content["parts"] if "functionCall" in part)
            response = {"name": "get_weather", "response": {"output": "sunny"}, "id": name.get("id")}
            turns = [content, {"role": "user", "parts": [{"functionResponse": response}]}]
            return {**document, "contents": [*document["contents"], *turns]}
        case other:
            raise AssertionError(other)


def signed_cell(client: Client, provider: Provider) -> Cell:
    """Return whether what a provider signed comes back to it through a client of the dialect."""
    dialect, where = dialect_of(provider.adapter, provider.options), target_of(provider)
    if client.relay in dialect.relays(where):
        return Cell("relayed")
    if provider.signer is None or (client.dialect, provider.signer, provider.options) == ("openai", "responses", ()):
        return Cell("none")  # nobody signs; nor does OpenAI on the chat wire, which such a client is answered by
    own = dialect_of(client.writer, client.options)
    asked = own.encode_chat(request_of(FEATURE, dialect=client.dialect), target_of(_public(client)))
    document: dict[str, Any] = msgspec.json.decode(asked.body)
    again = continued(client, document, said(client, document, answer_of(provider.signer)))
    request = msgspec.structs.replace(parsed(client, again), reasoning=FEATURE.fields["reasoning"])
    try:
        sent = dialect.encode_chat(request, where).body.decode()
    except RequestRefused as error:
        return Cell("refused", param=error.param)
    if not re.search(re.escape(SIGNATURE), sent) or "sunny" not in sent:
        return Cell("carried", lost=f"the signature is gone from {sent[:900]}")
    return Cell("carried")


def _public(client: Client) -> Provider:
    return Provider("client", client.writer, "public", options=client.options)


__all__ = ["FEATURE", "QUESTION", "answer_of", "continued", "said", "signed_cell"]
