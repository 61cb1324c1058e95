"""A conversation as one text, since the server's own API takes nothing else.

The server keeps its models' chat templates for its OpenAI-compatible API, so the operator names the form here.
"""

from typing import Literal, NamedTuple

from providers.carry import refuse, refuse_part
from providers.types import (
    ChatRequest,
    FilePart,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

ChatTemplate = Literal["plain", "chatml", "llama3", "gemma", "mistral"]


class Template(NamedTuple):
    """How turns are written: `{}` stands for what is said, `answer` opens the turn to come.

    `markers` are the control tokens that end or begin turns. `stop` ends an answer where no such token does.
    """

    system: str
    user: str
    assistant: str
    answer: str
    markers: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


TEMPLATES: dict[ChatTemplate, Template] = {
    "plain": Template(
        system="{}\n\n",
        user="User: {}\n",
        assistant="Assistant: {}\n",
        answer="Assistant:",
        stop=("\nUser:",),
    ),
    # Source: https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md, read 2026-11.
    "chatml": Template(
        system="<|im_start|>system\n{}<|im_end|>\n",
        user="<|im_start|>user\n{}<|im_end|>\n",
        assistant="<|im_start|>assistant\n{}<|im_end|>\n",
        answer="<|im_start|>assistant\n",
        markers=("<|im_start|>", "<|im_end|>"),
    ),
    # Source: https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3, read 2026-11.
    "llama3": Template(
        system="<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
        answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
        markers=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    # It has no system turn. Source: https://ai.google.dev/gemma/docs/core/prompt-structure, read 2026-11.
    "gemma": Template(
        system="<start_of_turn>user\n{}<end_of_turn>\n",
        user="<start_of_turn>user\n{}<end_of_turn>\n",
        assistant="<start_of_turn>model\n{}<end_of_turn>\n",
        answer="<start_of_turn>model\n",
        markers=("<start_of_turn>", "<end_of_turn>"),
    ),
    # Source: https://docs.mistral.ai/cookbooks/concept-deep-dive-tokenization-chat_templates, read 2026-11.
    "mistral": Template(
        system="[SYSTEM_PROMPT]{}[/SYSTEM_PROMPT]",
        user="[INST]{}[/INST]",
        assistant="{}</s>",
        answer="",
        markers=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]", "</s>"),
    ),
}


def write_prompt(request: ChatRequest, *, template: Template) -> str:
    """Return the prompt that asks for the next turn. Raises `RequestRefused` for what is not text.

    A message that holds a control token is refused, since it could speak in another's name.
    """
    turns = [_write_turn(message, template=template) for message in request.messages]
    return "".join(turns) + template.answer


def raw_prompt(request: ChatRequest) -> str | None:
    """Return the prompt of a text completion, which is no conversation and is continued as it stands."""
    return "".join(map(_text_of, request.messages)) if request.dialect == "completions" else None


def _write_turn(message: Message, *, template: Template) -> str:
    said = _text_of(message)
    if marker := next((marker for marker in template.markers if marker in said), None):
        raise refuse("messages", what=f"a message that holds {marker}")
    match message.role:
        case "system" | "developer":
            return template.system.replace("{}", said)
        case "assistant":
            return template.assistant.replace("{}", said)
        case _:
            return template.user.replace("{}", said)


def _text_of(message: Message) -> str:
    if message.role == "tool":
        raise refuse("messages", what="a tool's result")
    return "\n".join(_said(part) for part in message.content if not isinstance(part, ThinkingPart))


def _said(part: Part) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case FilePart(text=str(text)):
            return text
        case ToolCallPart():
            raise refuse("messages", what="a tool call")
        case OpaquePart():
            raise refuse_part(part)
        case _:
            raise refuse("messages", what="a part that is no text")


__all__ = ["TEMPLATES", "ChatTemplate", "Template", "raw_prompt", "write_prompt"]
