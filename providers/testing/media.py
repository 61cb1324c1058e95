"""The fake provider's other endpoints: text completions, moderation, ranking, pictures, speech and transcripts."""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from providers.framing import multipart, sse
from providers.testing.reply import MOST_CHOICES, Frame, Reply, error_reply, json_reply
from providers.testing.script import Script
from providers.testing.tokens import count_tokens, pieces_of

CREATED = 1_790_000_000
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"a picture").decode()
SOUND = b"ID3\x04\x00" + bytes(range(256)) * 4
_PIECE_BYTES = 300
_EVENTS = "text/event-stream; charset=utf-8"
_LOOK = {
    "created_at": CREATED,
    "background": "opaque",
    "output_format": "png",
    "quality": "low",
    "size": "1024x1024",
}
_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_TEXT_FORMS = {"text": "text/plain; charset=utf-8", "srt": "application/x-subrip", "vtt": "text/vtt"}


def form_of(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the text fields of a form, and the size of its `file`; nothing of what is no form."""
    try:
        form = multipart.parse(body, content_type)
    except multipart.BadForm:
        return {}
    sizes = {file.name: file.value_end - file.value_start for file in form.files}
    return {**form.document, **sizes}


def _events(events: Iterable[Mapping[str, Any]], *, usage: dict[str, Any]) -> Reply:
    frames = [Frame(sse.encode(msgspec.json.encode(event), event=str(event["type"]).encode())) for event in events]
    return Reply(content_type=_EVENTS, frames=frames, is_stream=True, usage=usage)


def completions_reply(body: dict[str, Any], script: Script, number: int) -> Reply:
    """Go on with each prompt by saying it again, one word a token, up to the caller's output cap."""
    given = body.get("prompt")
    prompts: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(prompt, str) for prompt in prompts):
        return error_reply(400, "'prompt' must be a string or a list of strings.")
    words = [pieces_of(script.text or prompt)[: body.get("max_tokens") or 16] for prompt in prompts]
    sent, said = sum(map(count_tokens, prompts)), sum(map(len, words))
    usage = {"prompt_tokens": sent, "completion_tokens": said, "total_tokens": sent + said}
    head = {"id": f"cmpl-fake-{number}", "object": "text_completion", "created": CREATED, "model": body.get("model")}
    if body.get("stream"):
        chunks: list[dict[str, Any]] = [
            *({"choices": [_text(at, word)]} for at, pieces in enumerate(words) for word in pieces),
            *({"choices": [_text(at, "", "stop")]} for at in range(len(words))),
        ]
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append({"choices": [], "usage": usage})
        frames = [Frame(sse.encode(msgspec.json.encode(head | chunk)), 1) for chunk in chunks]
        frames.append(Frame(sse.encode(b"[DONE]")))
        return Reply(content_type=_EVENTS, frames=frames, is_stream=True, prompt_tokens=sent, usage=usage)
    choices = [_text(at, "".join(pieces), "stop") for at, pieces in enumerate(words)]
    return json_reply({**head, "choices": choices, "usage": usage})


def _text(index: int, text: str, reason: str | None = None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def moderations_reply(body: dict[str, Any], _: Script, number: int) -> Reply:
    """Find harm in inputs that say `harm`."""
    given = body.get("input")
    inputs = given if isinstance(given, list) else [given]
    results = [_verdict("harm" in str(item)) for item in inputs]
    return json_reply({"id": f"modr-fake-{number}", "model": body.get("model"), "results": results})


def _verdict(is_harmful: bool) -> dict[str, Any]:  # noqa: FBT001 - one fact, said once
    return {
        "flagged": is_harmful,
        "categories": dict.fromkeys(_CATEGORIES, is_harmful),
        "category_scores": dict.fromkeys(_CATEGORIES, float(is_harmful)),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }


def rerank_reply(body: dict[str, Any], _: Script, number: int) -> Reply:
    """Rank documents by the words that they share with the query."""
    wanted = set(str(body.get("query")).split())
    documents = [item if isinstance(item, str) else str(item.get("text")) for item in body.get("documents") or []]
    scores = [len(wanted & set(document.split())) / max(1, len(wanted)) for document in documents]
    order = sorted(range(len(documents)), key=lambda at: -scores[at])[: body.get("top_n")]
    usage = {"total_tokens": count_tokens(str(body.get("query"))) + sum(map(count_tokens, documents))}
    results = [{"index": at, "relevance_score": scores[at], "document": {"text": documents[at]}} for at in order]
    answer = {"id": f"rerank-fake-{number}", "model": body.get("model"), "results": results, "usage": usage}
    return msgspec.structs.replace(json_reply(answer), usage=usage)


def images_reply(body: dict[str, Any], _: Script, number: int) -> Reply:
    """Draw the same picture, whole or becoming clearer."""
    del number
    sent, count = count_tokens(str(body.get("prompt"))), body.get("n") or 1
    if not 1 <= count <= MOST_CHOICES:
        return error_reply(400, f"'n' must be from 1 to {MOST_CHOICES}.")
    details = {"text_tokens": sent, "image_tokens": 0}
    drawn = 100 * count
    usage = {
        "input_tokens": sent,
        "output_tokens": drawn,
        "total_tokens": sent + drawn,
        "input_tokens_details": details,
    }
    if not body.get("stream"):
        answer = {"created": CREATED, "data": [{"b64_json": PICTURE}] * count, "usage": usage}
        return msgspec.structs.replace(json_reply(answer), usage=usage)
    partial = {"type": "image_generation.partial_image", "b64_json": PICTURE, **_LOOK}
    events = [{**partial, "partial_image_index": at} for at in range(body.get("partial_images") or 0)]
    events.append({"type": "image_generation.completed", "b64_json": PICTURE, **_LOOK, "usage": usage})
    return _events(events, usage=usage)


def speech_reply(body: dict[str, Any], _: Script, number: int) -> Reply:
    """Say the same sound, as it is or in events."""
    del number
    pieces = [SOUND[at : at + _PIECE_BYTES] for at in range(0, len(SOUND), _PIECE_BYTES)]
    if body.get("stream_format") != "sse":
        return Reply(content_type="audio/mpeg", frames=[Frame(piece) for piece in pieces], is_stream=True)
    sent = count_tokens(str(body.get("input")))
    usage = {"input_tokens": sent, "output_tokens": len(pieces), "total_tokens": sent + len(pieces)}
    events: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces
    ]
    return _events([*events, {"type": "speech.audio.done", "usage": usage}], usage=usage)


def transcript_reply(body: dict[str, Any], _: Script, number: int) -> Reply:
    """Hear how many bytes the recording has, in the form that is asked for."""
    del number
    if not isinstance(body.get("file"), int):
        return error_reply(400, "'file' is required.")
    words = pieces_of(f"a recording of {body['file']} bytes")
    text = "".join(words)
    form = body.get("response_format")
    if form in _TEXT_FORMS:
        return Reply(content_type=_TEXT_FORMS[form], frames=(Frame(text.encode()),))
    usage = {"type": "tokens", "input_tokens": body["file"], "output_tokens": len(words)}
    usage["total_tokens"] = body["file"] + len(words)
    if body.get("stream") != "true":
        return msgspec.structs.replace(json_reply({"text": text, "usage": usage}), usage=usage)
    deltas = [{"type": "transcript.text.delta", "delta": word} for word in words]
    return _events([*deltas, {"type": "transcript.text.done", "text": text, "usage": usage}], usage=usage)


_ANSWERS: dict[str, Callable[[dict[str, Any], Script, int], Reply]] = {
    "/completions": completions_reply,
    "/moderations": moderations_reply,
    "/rerank": rerank_reply,
    "/images/generations": images_reply,
    "/audio/speech": speech_reply,
    "/audio/transcriptions": transcript_reply,
    "/audio/translations": transcript_reply,
}


def media_reply(path: str, body: dict[str, Any], *, script: Script, number: int) -> Reply | None:
    """Answer a request by the end of its path; `None` for any other path."""
    answer = next((answer for end, answer in _ANSWERS.items() if path.endswith(end)), None)
    return None if answer is None else answer(body, script, number)


__all__ = ["PICTURE", "SOUND", "form_of", "media_reply"]
