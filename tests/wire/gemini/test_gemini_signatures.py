"""Signatures come back from Google's own client, which decodes and encodes them, as they went out."""

import pytest
from google.genai import types

from providers.signatures import seal, unseal


@pytest.mark.parametrize("value", ["a", "ab>?>?>?", "\u00ff\u00fe>>>???", "x" * 500])
def test_a_sealed_signature_survives_googles_client(value):
    sealed = seal(f"anthropic:{value}", "gemini")
    part = types.Part.model_validate({"text": "x", "thoughtSignature": sealed})
    sent = part.model_dump(mode="json", by_alias=True, exclude_none=True)["thoughtSignature"]
    assert unseal(sent, "gemini") == f"anthropic:{value}"


def test_a_bare_signature_of_google_stays_googles():
    assert seal("gemini:AAEC", "gemini") == "AAEC"
    assert unseal("AAEC", "gemini") == "gemini:AAEC"
