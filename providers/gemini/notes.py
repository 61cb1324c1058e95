"""What a candidate says about its text: where it is from, and how likely its tokens were.

Source: https://ai.google.dev/api/generate-content#GroundingMetadata, read 2026-11; google-genai 3.6:
types.GroundingMetadata, types.LogprobsResult.
"""

from collections.abc import Iterable
from typing import Any

from providers.answers import fields, integer, objects

_CITATION = "url_citation"


def read_citations(grounding: Any, *, text: str) -> list[dict[str, Any]]:
    """Return the citations of a grounded text in the shape of OpenAI's chat completions.

    Google counts in bytes of UTF-8, from the beginning of the answer's text; the citations count characters.
    """
    metadata = fields(grounding)
    sources = [fields(chunk.get("web") or chunk.get("retrievedContext")) for chunk in _chunks(metadata)]
    raw = text.encode(errors="surrogatepass")
    found: list[dict[str, Any]] = []
    for support in objects(metadata.get("groundingSupports")):
        segment = fields(support.get("segment"))
        start, end = (_characters(raw, integer(segment.get(name))) for name in ("startIndex", "endIndex"))
        for index in support.get("groundingChunkIndices") or []:
            source = sources[index] if isinstance(index, int) and 0 <= index < len(sources) else {}
            if isinstance(source.get("uri"), str):
                title = source.get("title")
                found.append(_citation(source["uri"], title=title or "", start=start, end=end))
    return found


def _chunks(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    chunks = metadata.get("groundingChunks")
    return [fields(chunk) for chunk in chunks] if isinstance(chunks, list) else []


def _characters(raw: bytes, at: int) -> int:
    return len(raw[: max(0, at)].decode(errors="ignore"))


def _citation(url: str, *, title: str, start: int, end: int) -> dict[str, Any]:
    return {
        "type": _CITATION,
        _CITATION: {"url": url, "title": title, "start_index": start, "end_index": end},
    }


def write_citations(annotations: Iterable[Any], *, text: str) -> dict[str, Any] | None:
    """Return the grounding metadata that says what citations say; `None` if there are none."""
    chunks: list[dict[str, Any]] = []
    supports: list[dict[str, Any]] = []
    for annotation in annotations:
        cited = fields(fields(annotation).get(_CITATION))
        if not isinstance(cited.get("url"), str):
            continue
        start, end = integer(cited.get("start_index")), integer(cited.get("end_index"))
        said = text[start:end]
        first = len(text[:start].encode(errors="surrogatepass"))
        segment = {
            "startIndex": first,
            "endIndex": first + len(said.encode(errors="surrogatepass")),
            "text": said,
        }
        supports.append({"segment": segment, "groundingChunkIndices": [len(chunks)]})
        chunks.append({"web": {"uri": cited["url"], "title": str(cited.get("title") or "")}})
    return {"groundingChunks": chunks, "groundingSupports": supports} if chunks else None


def read_logprobs(result: Any) -> dict[str, Any] | None:
    """Return log-probabilities in the shape of OpenAI's chat completions; `None` if there are none."""
    chosen = objects(fields(result).get("chosenCandidates"))
    if not chosen:
        return None
    tops = fields(result).get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for position, token in enumerate(chosen):
        others = fields(tops[position]).get("candidates") if position < len(tops) else None
        content.append({**_read_token(token), "top_logprobs": [_read_token(other) for other in objects(others)]})
    return {"content": content, "refusal": None}


def _read_token(token: dict[str, Any]) -> dict[str, Any]:
    text, logprob = str(token.get("token") or ""), token.get("logProbability")
    number = float(logprob) if isinstance(logprob, int | float) else 0.0
    return {"token": text, "logprob": number, "bytes": list(text.encode(errors="replace"))}


def write_logprobs(logprobs: Any) -> dict[str, Any] | None:
    """Return log-probabilities in Google's shape; `None` if there are none."""
    content = objects(fields(logprobs).get("content"))
    if not content:
        return None
    tops = [{"candidates": [_write_token(other) for other in objects(token.get("top_logprobs"))]} for token in content]
    return {"chosenCandidates": [_write_token(token) for token in content], "topCandidates": tops}


def _write_token(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": str(token.get("token") or ""), "logProbability": token.get("logprob") or 0.0}
