"""What a request says that its canonical form does not. Law: when in doubt, it says something.

Where a provider gets the client's own bytes, it may heed a member that nobody here reads; so a request with such a
member is told from others by all that it says.
"""

from collections.abc import Mapping
from typing import Any

_FREE = frozenset(
    {
        *("parameters", "input_schema", "schema", "parametersJsonSchema", "parameters_json_schema"),
        *("responseJsonSchema", "response_json_schema", "responseSchema", "response_schema"),
        *("args", "input", "response", "logit_bias"),
    }
)
"""Members whose objects have names of the client's own, and are read as they are."""
_READ = frozenset(
    {
        # all dialects
        *("model", "messages", "role", "content", "name", "type", "text", "stream", "tools", "tool_choice"),
        *("temperature", "top_p", "top_k", "seed", "stop", "n", "description", "strict", "id", "user", "metadata"),
        # OpenAI
        *("image_url", "url", "detail", "input_audio", "data", "format", "file", "file_data", "filename"),
        *("tool_calls", "tool_call_id", "function", "arguments", "refusal", "reasoning_content"),
        *("parallel_tool_calls", "response_format", "json_schema", "frequency_penalty", "presence_penalty"),
        *("logprobs", "top_logprobs", "reasoning_effort", "max_tokens", "max_completion_tokens", "stream_options"),
        *("prompt", "instructions", "output", "call_id", "summary", "encrypted_content", "reasoning", "effort"),
        *("max_output_tokens", "verbosity", "annotations"),
        # Anthropic
        *("system", "stop_sequences", "source", "media_type", "title", "context", "citations", "enabled"),
        *("thinking", "signature", "tool_use_id", "is_error", "disable_parallel_tool_use", "budget_tokens"),
        *("output_config", "cache_control"),
        # Google
        *("contents", "parts", "inlineData", "mimeType", "thought", "thoughtSignature", "functionCall"),
        *("functionResponse", "systemInstruction", "functionDeclarations", "toolConfig", "functionCallingConfig"),
        *("mode", "allowedFunctionNames", "generationConfig", "topP", "topK", "maxOutputTokens", "stopSequences"),
        *("candidateCount", "responseMimeType", "presencePenalty", "frequencyPenalty", "responseLogprobs"),
        *("thinkingConfig", "thinkingBudget", "includeThoughts", "inline_data", "mime_type", "thought_signature"),
        *("function_call", "function_response", "system_instruction", "function_declarations", "tool_config"),
        *("function_calling_config", "allowed_function_names", "generation_config", "max_output_tokens"),
        *("candidate_count", "response_mime_type", "response_logprobs", "thinking_config", "thinking_budget"),
        *("include_thoughts",),
    }
)
"""Members that the canonical form has, or that change nothing where it has them not."""


def has_unread(document: Mapping[str, Any], *, passed_over: frozenset[str]) -> bool:
    """Whether any object in a body has a member that is not read; those `passed_over` may stand at its top."""
    waiting: list[Any] = [{name: value for name, value in document.items() if name not in passed_over}]
    while waiting:
        inner = waiting.pop()
        if type(inner) is list:
            waiting += [item for item in inner if type(item) is dict or type(item) is list]
            continue
        if type(inner) is not dict:
            continue
        for name, value in inner.items():
            if name not in _READ and name not in _FREE:
                return True
            if (type(value) is dict or type(value) is list) and not _is_free(name, value):
                waiting.append(value)
    return False


def _is_free(name: str, value: Any) -> bool:
    return name in _FREE and type(value) is dict
