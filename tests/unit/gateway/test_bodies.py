"""Bodies as they are kept: cut, sealed for one place, opened there and nowhere else."""

import pytest

from app.cache.answers import Sealer
from app.gateway.bodies import BodySealer, Spoken, open_body_sealer
from app.pipeline.explained_bodies import told_body
from app.pipeline.transcript import MOST_BYTES, Transcript
from app.settings import Settings
from providers.types import Secret

KEY = bytes(range(32))
PLACE = {"request_id": "r", "organization_id": "o"}


async def nothing(*_args):
    """Be no server."""


def spoken(request: bytes, answer: bytes, **place: str) -> Spoken:
    transcript = Transcript(nothing, nothing)
    transcript.request.add(request)
    transcript.answer.add(answer)
    return Spoken(**(PLACE | place), transcript=transcript)


async def test_what_is_sealed_opens_at_its_place_only():
    sealer = BodySealer(Sealer(KEY))
    sealed = (await sealer.seal([spoken(b"canary question", b"canary answer")]))["r"]
    assert b"canary" not in sealed
    opened = sealer.open(sealed, **PLACE)
    assert (opened.request.text, opened.answer.text) == ("canary question", "canary answer")
    for elsewhere in ({"request_id": "s"}, {"organization_id": "p"}):
        assert sealer.open(sealed, **(PLACE | elsewhere)) is None
    assert BodySealer(Sealer(bytes(32))).open(sealed, **PLACE) is None
    assert sealer.open(sealed[:-1], **PLACE) is None
    assert sealer.open(b"", **PLACE) is None


async def test_it_opens_under_the_master_secret_before_while_that_is_known():
    old, new = Secret("o" * 32), Secret("n" * 32)
    first, both, alone = (
        open_body_sealer(Settings(master_secret=master, old_master_secret=before))
        for master, before in ((old, None), (new, old), (new, None))
    )
    kept = (await first.seal([spoken(b"q", b"a")]))["r"]
    assert both.open(kept, **PLACE).request.text == "q"
    assert alone.open(kept, **PLACE) is None
    anew = (await both.seal([spoken(b"q", b"a")]))["r"]
    assert alone.open(anew, **PLACE).request.text == "q"


@pytest.mark.parametrize("size", [MOST_BYTES - 1, MOST_BYTES, MOST_BYTES + 1, 3 * MOST_BYTES])
async def test_a_body_is_cut_at_its_bound_and_says_how_long_it_was(size):
    sealer = BodySealer(Sealer(KEY))
    told = sealer.open((await sealer.seal([spoken(b"x" * size, b"")]))["r"], **PLACE)
    assert told.request.text == "x" * min(size, MOST_BYTES)
    assert (told.request.size_bytes, told.request.truncated) == (size, size > MOST_BYTES)
    assert (told.answer.text, told.answer.size_bytes, told.answer.truncated) == ("", 0, False)


async def test_what_was_sealed_once_is_not_sealed_again():
    sealer, one = BodySealer(Sealer(KEY)), spoken(b"q", b"a")
    assert await sealer.seal([one]) == await sealer.seal([one])


async def test_large_ones_are_sealed_as_small_ones_are():
    sealer = BodySealer(Sealer(KEY))
    many = [spoken(b"x" * 60_000, b"y" * 60_000, request_id=str(number)) for number in range(5)]
    sealed = await sealer.seal(many)
    assert [sealer.open(sealed[str(each)], request_id=str(each), organization_id="o").answer.text[:2]
            for each in range(5)] == ["yy"] * 5  # fmt: skip


def test_a_cut_within_a_character_leaves_that_out():
    data = "é".encode() * 4
    assert told_body(data[:5], size_bytes=8).text == "éé"
    told = told_body(data, size_bytes=8)
    assert (told.text, told.encoding) == ("éééé", "utf-8")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", "é".encode()[:1]])
def test_what_is_no_text_is_told_in_base64(data):
    told = told_body(data, size_bytes=len(data))
    assert told.encoding == "base64"
    assert not told.truncated
