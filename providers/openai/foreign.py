"""What other dialects say, made fit for the chat wire, which is narrower about turns, results and ids.

Law: only what is translated is changed; what a client of this wire says goes on as it is.
Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from providers.carry import in_order
from providers.schemas import may_be_strict, of_object
from providers.types import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

LONGEST_ID = 40
"""How long the id of a tool call may be. Source: https://github.com/langgenius/dify/issues/28987, read 2026-11."""
LONGEST_ID_IN_RESPONSES = 64
"""Source: https://github.com/HKUDS/nanobot/issues/1623, read 2026-11."""
_LONGEST_USER = 64
"""How long `user` may be. Source: https://github.com/maximhq/bifrost/pull/1000, read 2026-11."""
_NEVER_THINKS = re.compile(r"(?:ft:)?(?:gpt-3|gpt-4|chatgpt-|gpt-5(?:\.\d+)?-chat)")
_ALWAYS_THINKS = re.compile(r"(?:ft:)?(?:o\d|gpt-5(?![.\d]))")
_MAY_THINK = re.compile(r"(?:ft:)?gpt-\d+")
_USUAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
_OPENAIS = frozenset({"openai", "responses", "completions"})
_SHOWN_BELOW = "(shown below)"


def fit_id(given: str, *, longest: int = LONGEST_ID) -> str:
    """Return the id of a tool call, or where it is too long one made of it, the same for the same."""
    return given if len(given) <= longest else f"call_{hashlib.sha256(given.encode()).hexdigest()[:32]}"


def fit_user(user: str | None) -> str | None:
    """Return the name of the user, or its digest where it is longer than OpenAI takes, as agents' are."""
    if user is None or len(user) <= _LONGEST_USER:
        return user
    return hashlib.blake2b(user.encode(errors="surrogatepass"), digest_size=_LONGEST_USER // 2).hexdigest()


def never_thinks(model: str) -> bool:
    """Whether a model of OpenAI's is known to refuse a word for how hard to think.

    Source: https://developers.openai.com/api/docs/models, read 2026-11.
    """
    return _NEVER_THINKS.match(model) is not None


def cannot_think(request: ChatRequest, *, model: str) -> bool:
    """Whether the wish to think has to be left out for a model that never does."""
    return request.reasoning is not None and request.reasoning.effort != "none" and never_thinks(model)


def needs_responses(request: ChatRequest, *, model: str) -> bool:
    """Whether OpenAI's Responses API is where a request that thinks is served better, and can be said.

    There alone the thoughts are shown and come back encrypted to go on from, and some models take tools only there
    while they think.
    Source: https://github.com/itzcrazykns/vane/issues/1173, read 2026-11.
    """
    reasoning, sampling = request.reasoning, request.sampling
    if request.dialect in {"openai", "completions"} or reasoning is None or reasoning.effort == "none":
        return False
    return not (never_thinks(model) or sampling.stop or sampling.logit_bias or sampling.logprobs or request.n > 1)


def fit_sampling(request: ChatRequest, *, model: str) -> tuple[ChatRequest, tuple[str, ...]]:
    """Return a request without the words for how tokens are drawn that a model refuses while it thinks, and those.

    Source: https://developers.openai.com/api/docs/guides/latest-model, read 2026-11.
    """
    if request.dialect in {"openai", "completions"} or not _draws_itself(request, model=model):
        return request, ()
    lost = tuple(name for name, usual in _USUAL.items() if getattr(request.sampling, name) not in (None, usual))
    if not lost:
        return request, ()
    sampling = msgspec.structs.replace(request.sampling, **dict.fromkeys(lost))
    return msgspec.structs.replace(request, sampling=sampling), lost


def _draws_itself(request: ChatRequest, *, model: str) -> bool:
    """Whether a model of OpenAI's thinks, so that it takes no words for how tokens are drawn.

    The o series and the first GPT-5 always do, those after it where they are asked to.
    """
    if never_thinks(model):
        return False
    asked = request.reasoning is not None and request.reasoning.effort != "none"
    return _ALWAYS_THINKS.match(model) is not None or (asked and _MAY_THINK.match(model) is not None)


def fit_model(request: ChatRequest, *, model: str) -> tuple[ChatRequest, tuple[str, ...]]:
    """Return a request of another dialect that a model of OpenAI's takes, and the names of what that leaves out."""
    request, lost = fit_promises(request)
    request, undrawn = fit_sampling(request, model=model)
    return request, (*lost, *undrawn)


def fit_promises(request: ChatRequest) -> tuple[ChatRequest, tuple[str, ...]]:
    """Return a request that asks OpenAI to be strict only where it can be, and the names of what that leaves out.

    In dialects that are not OpenAI's an answer in a schema is a promise, and here only if that is asked for.
    """
    if request.dialect in _OPENAIS:
        return request, ()
    tools = [_promised(tool) for tool in request.tools]
    form = request.response_format
    if form is not None and form.schema is not None and form.strict is None:
        form = msgspec.structs.replace(form, strict=may_be_strict(form.schema) or None)
    lost = ("strict",) if any(tool.strict for tool in request.tools) and tools != request.tools else ()
    return msgspec.structs.replace(request, tools=tools, response_format=form), lost


def _promised(tool: Tool) -> Tool:
    fits = not tool.strict or (tool.parameters is not None and may_be_strict(of_object(tool.parameters)))
    return tool if fits else msgspec.structs.replace(tool, strict=None)


def fitted(messages: Iterable[Message], *, knows_developers: bool, shows_in_results: bool) -> list[Message]:
    """Return messages of another dialect in turns that this wire takes.

    `knows_developers` is whether the vendor knows that role, `shows_in_results` whether a tool's result may hold
    images and documents; elsewhere the user shows them right behind the results.
    """
    turns = [_fit(message, knows_developers=knows_developers) for message in in_order(messages)]
    return turns if shows_in_results else _shown_apart(turns)


def _fit(message: Message, *, knows_developers: bool) -> Message:
    if message.role == "developer" and not knows_developers:
        return msgspec.structs.replace(message, role="system")
    content = [_with_fit_id(part) for part in message.content]
    return msgspec.structs.replace(message, content=content)


def _with_fit_id(part: Part) -> Part:
    if not isinstance(part, ToolCallPart | ToolResultPart) or len(part.id) <= LONGEST_ID:
        return part
    return msgspec.structs.replace(part, id=fit_id(part.id))


def _shown_apart(messages: list[Message]) -> list[Message]:
    """Return messages in which the user shows what tools' results hold beside text, once all of them have answered.

    Source: https://github.com/OpenHands/OpenHands/issues/7700, read 2026-11.
    """
    apart: list[Message] = []
    shown: list[Part] = []
    for message in messages:
        said = message
        if message.role == "tool":
            said = msgspec.structs.replace(message, content=[_without_media(part, shown) for part in message.content])
        elif shown:
            if message.role == "user":
                said = msgspec.structs.replace(message, content=[*shown, *message.content])
            else:
                apart.append(Message(role="user", content=shown))
            shown = []
        apart.append(said)
    return [*apart, Message(role="user", content=shown)] if shown else apart


def _without_media(part: Part, shown: list[Part]) -> Part:
    """Return a tool's result of text alone; adds what else it holds to what is shown."""
    if not isinstance(part, ToolResultPart):
        return part
    media: list[Any] = [piece for piece in part.content if _is_media(piece)]
    if not media:
        return part
    shown += [TextPart(text=f"The tool call {part.id} returned:"), *media]
    texts = [piece for piece in part.content if not _is_media(piece)]
    return msgspec.structs.replace(part, content=texts or [TextPart(text=_SHOWN_BELOW)])


def _is_media(piece: Part) -> bool:
    return isinstance(piece, ImagePart) or (isinstance(piece, FilePart) and piece.text is None)


__all__ = ["LONGEST_ID_IN_RESPONSES", "cannot_think", "fit_id", "fit_promises", "fit_user", "fitted", "never_thinks"]
