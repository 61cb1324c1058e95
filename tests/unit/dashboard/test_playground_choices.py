"""Which models the playground offers: an organization is not told the names of what is dedicated to others."""

from uuid import UUID

import pytest

from app.api.dashboard.playground import served_to
from app.settings.model import ModelSettings, ProviderSettings, Settings
from app.settings.upstream import TargetSettings

OURS, THEIRS = UUID(int=0xA), UUID(int=0xB)


def _model(*providers: str) -> ModelSettings:
    return ModelSettings(targets=tuple(TargetSettings(provider=name, model="m") for name in providers))


SERVED = Settings(
    providers={
        "shared": ProviderSettings(adapter="openai"),
        "theirs": ProviderSettings(adapter="openai", dedicated_to=str(THEIRS).upper()),
    },
    models={
        "open": _model("shared"),
        "apart": _model("theirs"),
        "both": _model("theirs", "shared"),
    },
)


@pytest.mark.parametrize(
    ("visitor", "offered"),
    [
        (None, ["open", "apart", "both"]),
        (OURS, ["open", "both"]),
        (THEIRS, ["open", "apart", "both"]),
    ],
)
def test_a_visitor_is_offered_what_serves_his_organization(visitor, offered):
    assert served_to(visitor, SERVED) == offered
