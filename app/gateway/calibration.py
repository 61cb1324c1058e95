"""What is known of an embedder without asking it. Law: by name, so that whatever compares nothing knows it too."""

import asyncio
from typing import NamedTuple

from app.cache.embedding import StaticEmbedder
from app.cache.embedding.onnx import THRESHOLD as ONNX_THRESHOLD
from app.cache.embedding.onnx import ExtraMissing, OnnxEmbedder
from app.gateway.embedding import THRESHOLD as REMOTE_THRESHOLD

STATIC, ONNX = "static", "onnx"


class Calibration(NamedTuple):
    """The weights and their version, absent where they are not installed, and the threshold that goes with them."""

    id: str | None
    threshold: float


class Calibrations:
    """Tells of embedders by the names that settings give them. What it found out it keeps."""

    def __init__(self) -> None:
        self._found: dict[str, Calibration] = {}

    async def __call__(self, name: str) -> Calibration:
        """Return what is known of an embedder."""
        if name not in {STATIC, ONNX}:
            return Calibration(f"remote-{name}", REMOTE_THRESHOLD)
        if name not in self._found:
            # Opening the table of words takes about 10 ms.
            self._found[name] = await asyncio.to_thread(_static if name == STATIC else _onnx)
        return self._found[name]


def _static() -> Calibration:
    embedder = StaticEmbedder()
    return Calibration(embedder.id, embedder.threshold)


def _onnx() -> Calibration:
    try:
        embedder = OnnxEmbedder()
    except ExtraMissing:
        return Calibration(None, ONNX_THRESHOLD)
    embedder.close()
    return Calibration(embedder.id, embedder.threshold)
