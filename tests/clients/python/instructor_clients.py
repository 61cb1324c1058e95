"""instructor: forms by tools, by schemas and by JSON, whole, in parts and as a list, over OpenAI's SDK."""

from typing import Any

import instructor
from harness import TALK, Models, check, main
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

MODES = {
    "tools": instructor.Mode.TOOLS,
    "strict tools": instructor.Mode.TOOLS_STRICT,
    "schema": instructor.Mode.JSON_SCHEMA,
    "responses": instructor.Mode.RESPONSES_TOOLS,
}
WHERE: dict[str, Any] = {"base_url": f"{TALK.url}/v1", "api_key": TALK.key, "max_retries": 0}
ASKED: Any = [{"role": "system", "content": TALK.rule}, {"role": "user", "content": TALK.question}]


class Forecast(BaseModel):
    """The form that answers are asked for in."""

    place: str
    degrees: float
    is_dry: bool
    hours: list[int]


def asking(models: Models) -> dict[str, Any]:
    """Return what is the same in all requests."""
    return {"model": models.gpt["plain"], "messages": ASKED, "max_retries": 0}


@check(*MODES)
def fills_a_form(models: Models, mode: str) -> None:
    """It answers in a form."""
    client = instructor.from_openai(OpenAI(**WHERE), mode=MODES[mode])
    filled = client.chat.completions.create(response_model=Forecast, **asking(models))
    assert filled.model_dump() == TALK.forecast, filled


@check(*MODES)
async def fills_a_form_asynchronously(models: Models, mode: str) -> None:
    """It answers in a form without blocking."""
    client = instructor.from_openai(AsyncOpenAI(**WHERE), mode=MODES[mode])
    filled = await client.chat.completions.create(response_model=Forecast, **asking(models))
    assert filled.model_dump() == TALK.forecast, filled


@check("tools", "schema")
def fills_a_form_in_parts(models: Models, mode: str) -> None:
    """It streams the parts of a form as they come."""
    client = instructor.from_openai(OpenAI(**WHERE), mode=MODES[mode])
    parts = list(client.chat.completions.create_partial(response_model=Forecast, **asking(models)))
    assert parts[-1].model_dump() == TALK.forecast, parts


@check("tools", "schema")
def fills_a_list_of_forms(models: Models, mode: str) -> None:
    """It streams the elements of a list of forms."""
    client = instructor.from_openai(OpenAI(**WHERE), mode=MODES[mode])
    found = list(client.chat.completions.create_iterable(response_model=Forecast, **asking(models)))
    assert [form.model_dump() for form in found] == [TALK.forecast], found


@check()
def keeps_the_answer_beside_the_form(models: Models) -> None:
    """It gives the completion that a form was read from."""
    client = instructor.from_openai(OpenAI(**WHERE))
    filled, completion = client.chat.completions.create_with_completion(response_model=Forecast, **asking(models))
    assert filled.model_dump() == TALK.forecast, filled
    assert completion.usage.completion_tokens > 0


if __name__ == "__main__":
    main()
