"""What pages of other origins may read is what answers have."""

from app.api.docs.schemas.headers import HEADERS
from app.middleware.cross_origin import EXPOSED


def test_every_header_that_is_described_may_be_read_by_a_page():
    assert sorted(EXPOSED) == sorted(HEADERS)
