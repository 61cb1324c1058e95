"""One of everything for each module: what a test breaks here, it repairs."""

from collections.abc import Iterator

import pytest
from faults.money.stand import Stand, standing


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing() as put_up:
        yield put_up
