"""Every provider wire at fault, seen by clients of every dialect through one served gateway."""

import pytest

pytest.register_assert_rewrite(*(f"faults.dialects.{name}" for name in ("asking", "clients", "hall")))
