"""Routing at fault: providers that break, hang, refuse and recover behind a served gateway."""

import pytest

pytest.register_assert_rewrite(*(f"faults.routing.{name}" for name in ("cells", "points", "ward")))
