"""What is known of embedders by name is what they say of themselves."""

import importlib.util

from app.cache.embedding import StaticEmbedder, onnx
from app.gateway.calibration import Calibration, Calibrations
from app.gateway.embedding import THRESHOLD, RemoteEmbedder


async def test_they_are_known_by_what_they_say_of_themselves() -> None:
    calibrations = Calibrations()
    static = StaticEmbedder()
    assert await calibrations("static") == await calibrations("static") == Calibration(static.id, static.threshold)
    remote = RemoteEmbedder("openai/small", target_of=None, prices=None, used=None)  # type: ignore[arg-type] # unused
    assert await calibrations("openai/small") == Calibration(remote.id, THRESHOLD)


async def test_one_that_is_not_installed_has_no_id_but_a_threshold(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert await Calibrations()("onnx") == Calibration(None, onnx.THRESHOLD)
