import msgspec
import pytest

from app.api.admin.bodies import decode, require_json
from app.api.admin.writing import expected_versions
from app.domain.keys.schemas import CreateKey
from app.kernel.errors import InvalidRequest, UnsupportedMediaType


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        ('"3"', {3}),
        ('"3", "4"', {3, 4}),
        ('"3", *', None),
        ("3", set()),
        ('W/"3"', set()),
        ('"', set()),
        ("", set()),
        ('"-1"', set()),
        ('"' + "9" * 5000 + '"', set()),
        ('"٣"', set()),
    ],
)
def test_if_match(header: str | None, versions: set[int] | None) -> None:
    assert expected_versions(header) == versions


@pytest.mark.parametrize("depth", [65, 5_000, 200_000])
def test_nesting_is_no_defect(depth: int) -> None:
    for opening in (b"[", b'{"name":', b'{"tags":{"a":[', b'{"limits":{"rules":['):
        with pytest.raises(InvalidRequest):
            decode(opening * depth, CreateKey)


@pytest.mark.parametrize("value", [b"\xef\xbb\xbf{}", b"'", b'{"name":"\\uDFFF"}', b'{"name":"a",}', b'{"name" "a"}'])
def test_broken_json_is_the_callers_fault(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(value, CreateKey)
    assert caught.value.code == "invalid_json"


def test_the_last_of_two_equal_fields_counts() -> None:
    assert decode(b'{"name":"a","name":"b"}', CreateKey) == msgspec.convert({"name": "b"}, CreateKey)


@pytest.mark.parametrize("value", ["application/json; charset=latin-1", "application/jsonx", "*/*", "json", ";"])
def test_only_json_is_taken(value: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        require_json(value)
