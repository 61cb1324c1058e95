"""The file of rows: whole, small, and what its digest says."""

from hashlib import sha256

import pytest

from app.cache.embedding.table import TABLE_PATH, BrokenTable, Table, written

MOST_BYTES = 8_000_000


def test_the_table_is_small_and_its_digest_is_of_what_it_holds():
    table = Table()
    assert TABLE_PATH.stat().st_size <= MOST_BYTES
    assert table.dimensions == 256
    rows = b"".join(table.row(number) for number in range(len(table.vocabulary)))
    assert sha256("\n".join(table.vocabulary).encode() + rows).hexdigest()[:16] == table.digest


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "table.bin"
    path.write_bytes(written(["a", "##é"], bytes([1, 2, 254, 255]), dimensions=2))
    table = Table(path)
    assert table.vocabulary == ["a", "##é"]
    assert [table.row(0), table.row(1)] == [b"\x01\x02", b"\xfe\xff"]


@pytest.mark.parametrize("cut", [slice(None, -1), slice(1, None)])
def test_a_torn_table_is_refused(tmp_path, cut):
    path = tmp_path / "table.bin"
    path.write_bytes(written(["a"], bytes(32), dimensions=32)[cut])
    with pytest.raises(BrokenTable):
        Table(path)
