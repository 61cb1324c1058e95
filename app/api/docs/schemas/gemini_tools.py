"""Tools in Google's dialect. Source: Gemini API reference, Tool, read 2026-11."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType


class GeminiFunction(msgspec.Struct, kw_only=True, rename="camel"):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="The arguments, as OpenAPI describes them.")] = None
    parameters_json_schema: Annotated[Any, Meta(description="The arguments, as JSON Schema describes them.")] = None


class GeminiTool(msgspec.Struct, kw_only=True, rename="camel"):
    """Functions; or a tool of the provider's own, such as `googleSearch`."""

    function_declarations: list[GeminiFunction] | UnsetType = UNSET


class GeminiCallingConfig(msgspec.Struct, kw_only=True, rename="camel"):
    """Whether a function must be called."""

    mode: Annotated[str | None, Meta(examples=["AUTO", "ANY", "NONE", "VALIDATED"])] = None
    allowed_function_names: Annotated[list[str] | None, Meta(description="Which may be.")] = None


class GeminiToolConfig(msgspec.Struct, kw_only=True, rename="camel"):
    """How to use tools."""

    function_calling_config: GeminiCallingConfig | None = None
