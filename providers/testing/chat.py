"""The fake provider's chat completions: what is said, and how it is cut into chunks."""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from providers.testing.examples import example_of
from providers.testing.reply import MOST_CHOICES, Frame, Reply, error_body, error_reply
from providers.testing.script import Script
from providers.testing.tokens import count_prompt_tokens, count_tokens, pieces_of, text_of

CREATED = 1_790_000_000
_ARGUMENT_PIECE = 7
_BENDS: dict[str, Callable[[int], Any]] = {
    "negative": lambda value: -value - 1,
    "float": lambda value: value + 0.5,
    "text": str,
    "huge": lambda value: value + 10**15,
}


class _Delta(msgspec.Struct, frozen=True):
    """One chunk's worth of one choice."""

    content: dict[str, Any]
    tokens: int = 0
    logprobs: dict[str, Any] | None = None


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one choice says: whole, and cut."""

    message: dict[str, Any]
    deltas: list[_Delta]
    finish_reason: str
    tokens: int
    logprobs: dict[str, Any] | None = None


def chat_reply(body: dict[str, Any], *, script: Script, number: int) -> Reply:
    """Answer a chat request as `script` says; `number` goes into the answer's id."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        return error_reply(400, "'messages' must be a list of messages.")
    choices = body.get("n") or 1
    if not 1 <= choices <= MOST_CHOICES:
        return error_reply(400, f"'n' must be from 1 to {MOST_CHOICES}.")
    turns = [_turn(body, script=script, index=index) for index in range(choices)]
    prompt_tokens = count_prompt_tokens(messages)
    usage = _usage(prompt_tokens, sum(turn.tokens for turn in turns), script=script)
    head = {"id": f"chatcmpl-fake-{number}", "created": CREATED, "model": body.get("model")}
    head["system_fingerprint"] = "fp_fake"
    if body.get("stream"):
        frames = _stream(turns, body=body, script=script, head=head, prompt_tokens=prompt_tokens, usage=usage)
        kind = "text/event-stream; charset=utf-8"
        return Reply(content_type=kind, frames=frames, is_stream=True, prompt_tokens=prompt_tokens, usage=usage)
    answer = {**head, "object": "chat.completion", "choices": [_choice(turn, at) for at, turn in enumerate(turns)]}
    if script.usage != "missing":
        answer["usage"] = usage
    if script.pad_bytes:
        answer["padding"] = "x" * script.pad_bytes
    frame = Frame(msgspec.json.encode(answer), sum(turn.tokens for turn in turns))
    return Reply(frames=(frame,), prompt_tokens=prompt_tokens, usage=usage)


def _choice(turn: _Turn, index: int) -> dict[str, Any]:
    return {"index": index, "message": turn.message, "logprobs": turn.logprobs, "finish_reason": turn.finish_reason}


def _turn(body: dict[str, Any], *, script: Script, index: int) -> _Turn:
    calls = _wanted_calls(body, script=script)
    turn = _calling(calls, script=script) if calls else _speaking(body, script=script, index=index)
    if script.finish_reason is None:
        return turn
    return msgspec.structs.replace(turn, finish_reason=script.finish_reason)


# --- Speaking


def _speaking(body: dict[str, Any], *, script: Script, index: int) -> _Turn:
    """Say the text in one token a chunk, up to the caller's output cap."""
    field = "refusal" if script.refusal is not None else "content"
    pieces = _pieces(body, script=script, index=index)
    cap = body.get("max_completion_tokens") or body.get("max_tokens")
    is_cut = isinstance(cap, int) and len(pieces) > cap and not script.ignores_output_cap
    pieces = pieces[:cap] if is_cut else pieces
    logprobs = [_logprob(piece, body) for piece in pieces] if body.get("logprobs") else None
    thoughts = _thinking(script)
    deltas = [_Delta({"role": "assistant", "content": "", "refusal": None}), *thoughts]
    deltas += [
        _Delta({field: piece}, 1, {"content": [logprobs[at]], "refusal": None} if logprobs else None)
        for at, piece in enumerate(pieces)
    ]
    signed = _signed(script)
    if signed:
        deltas.append(_Delta(signed))
    said = {"role": "assistant", "content": None, "refusal": None, field: "".join(pieces)}
    message = said | _thoughts_whole(script) | signed
    return _Turn(
        message=message,
        deltas=deltas,
        finish_reason="length" if is_cut else "stop",
        tokens=len(pieces) + len(thoughts),
        logprobs={"content": logprobs, "refusal": None} if logprobs is not None else None,
    )


def _pieces(body: dict[str, Any], *, script: Script, index: int) -> list[str]:
    if script.output_tokens is not None:
        return [f"word{at} " for at in range(script.output_tokens)]
    said = script.refusal or script.text
    if said is None:
        said = _formatted(body)
    return pieces_of(said if index == 0 else f"[{index}] {said}")


def _formatted(body: dict[str, Any]) -> str:
    """Return the echo of the last user text, in the form that the caller wants."""
    wanted = body.get("response_format") or {}
    echo = next((text_of(m.get("content")) for m in reversed(body["messages"]) if m.get("role") == "user"), "")
    if wanted.get("type") == "json_schema":
        return _json(example_of(wanted.get("json_schema", {}).get("schema", {})))
    if wanted.get("type") == "json_object":
        return _json({"echo": echo})
    return echo or "ok"


def _logprob(piece: str, body: dict[str, Any]) -> dict[str, Any]:
    entry = {"token": piece, "logprob": -0.25, "bytes": list(piece.encode())}
    alternatives = [{**entry, "logprob": -0.25 - at} for at in range(body.get("top_logprobs") or 0)]
    return {**entry, "top_logprobs": alternatives}


# --- Thinking


def _thinking(script: Script) -> list[_Delta]:
    """Return the reasoning, one token a chunk."""
    return [_Delta({"reasoning_content": thought}, 1) for thought in pieces_of(script.reasoning or "")]


def _thoughts_whole(script: Script) -> dict[str, Any]:
    return {} if script.reasoning is None else {"reasoning_content": script.reasoning}


def _signed(script: Script) -> dict[str, Any]:
    """Return the signature as Google's endpoint for OpenAI's clients says it."""
    return {} if script.signature is None else {"extra_content": {"google": {"thought_signature": script.signature}}}


# --- Calling tools


def _wanted_calls(body: dict[str, Any], *, script: Script) -> list[dict[str, Any]]:
    """Return the tools to call: as many as the script says, else one until a result has come back."""
    tools = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    choice = body.get("tool_choice", "auto")
    speaks = script.text is not None or script.output_tokens is not None or script.refusal is not None
    if not tools or choice == "none" or (speaks and script.tool_calls is None):
        return []
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
        return [tool for tool in tools if tool.get("name") == name] or tools[:1]
    if script.tool_calls is not None:
        return [tools[at % len(tools)] for at in range(script.tool_calls)]
    return [] if body["messages"][-1].get("role") == "tool" else tools[:1]


def _calling(tools: list[dict[str, Any]], *, script: Script) -> _Turn:
    """Call each tool with example arguments, a few characters of them a chunk; only the first call is signed."""
    thoughts = _thinking(script)
    deltas = [_Delta({"role": "assistant", "content": None}), *thoughts]
    calls, tokens = [], len(thoughts)
    for index, tool in enumerate(tools):
        arguments = _json(example_of(tool.get("parameters") or {"type": "object"}))
        call = {"id": f"call_fake_{index}", "type": "function", "function": {"name": tool["name"], "arguments": ""}}
        call |= {} if index else _signed(script)
        deltas.append(_Delta({"tool_calls": [{"index": index, **call}]}, 1))
        pieces = [arguments[at : at + _ARGUMENT_PIECE] for at in range(0, len(arguments), _ARGUMENT_PIECE)]
        deltas += [_Delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, 1) for piece in pieces]
        calls.append({**call, "function": {"name": tool["name"], "arguments": arguments}})
        tokens += 1 + len(pieces)
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls} | _thoughts_whole(script)
    return _Turn(message=message, deltas=deltas, finish_reason="tool_calls", tokens=tokens)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- Streaming


def _stream(
    turns: list[_Turn],
    *,
    body: dict[str, Any],
    script: Script,
    head: dict[str, Any],
    prompt_tokens: int,
    usage: dict[str, Any],
) -> Iterator[Frame]:
    """Yield the frames of a streamed answer."""
    verbatim = script.verbatim_frames
    if verbatim is not None:
        yield from map(Frame, verbatim)
        return
    with_usage = bool((body.get("stream_options") or {}).get("include_usage")) and script.usage != "missing"
    base = {**head, "object": "chat.completion.chunk"}
    if script.pad_bytes:
        base["padding"] = "x" * script.pad_bytes
    served = 0
    for number, (choice, tokens) in enumerate(_interleaved(turns)):
        if number == script.error_after_frames:
            yield _sse(error_body(500, "The server had an error while processing your request."), script=script)
            return
        served += tokens
        chunk = {**base, "choices": [choice]}
        if script.usage == "every_chunk":
            chunk["usage"] = _usage(prompt_tokens, served, script=script)
        elif with_usage:
            chunk["usage"] = None
        yield Frame(_sse(chunk, script=script).data, tokens)
    if with_usage:
        yield _sse({**base, "choices": [], "usage": usage}, script=script)
    if script.sends_done:
        yield Frame(_lines("[DONE]", script=script))


def _interleaved(turns: list[_Turn]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the choices' deltas in turn, each choice closed by its reason."""
    for row in zip_longest(*(_closed(turn) for turn in turns)):
        for index, item in enumerate(row):
            if item is not None:
                delta, reason = item
                said = {"index": index, "delta": delta.content, "logprobs": delta.logprobs, "finish_reason": reason}
                yield said, delta.tokens


def _closed(turn: _Turn) -> list[tuple[_Delta, str | None]]:
    return [*((delta, None) for delta in turn.deltas), (_Delta({}), turn.finish_reason)]


def _sse(value: Any, *, script: Script) -> Frame:
    return Frame(_lines(_json(value), script=script))


def _lines(data: str, *, script: Script) -> bytes:
    comment = f": keep-alive{script.line_end * 2}" if script.comments else ""
    return f"{comment}data: {data}{script.line_end * 2}".encode()


# --- Usage


def _usage(prompt: int, completion: int, *, script: Script) -> dict[str, Any]:
    """Return the usage to claim, bent as the script says."""
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    bend = _BENDS.get(script.usage)
    if bend is not None:
        return {name: bend(value) for name, value in counts.items()}
    counts["prompt_tokens_details"] = {"cached_tokens": min(script.cached_tokens, prompt)}
    counts["completion_tokens_details"] = {"reasoning_tokens": count_tokens(script.reasoning or "")}
    return counts
