"""What every client is made to say. The scripted provider repeats the last question, or calls the tool first."""

from typing import Any

from pydantic import BaseModel

from providers.testing import PRESETS

QUESTION = "How is the weather in Berlin today?"
RULE = "Be brief and never guess."
REASONING = PRESETS["fake-reasoning"].reasoning
SIGNATURE = PRESETS["fake-signed"].signature
REFUSAL = PRESETS["fake-refusal"].refusal
TOOL = "get_weather"
TOOL_SAYS = "Looks up the weather of a city."
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "its name"}},
    "required": ["city"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "text"}
"""With which the scripted provider calls the tool."""
RESULT = "sunny, 21 degrees"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Forecast(BaseModel):
    """The form that structured answers are asked for in."""

    place: str
    degrees: float
    is_dry: bool
    hours: list[int]


FORECAST = Forecast(place="text", degrees=1.5, is_dry=True, hours=[1])
"""What the scripted provider fills that form with."""
