"""What is promised about money and limits, held against real servers that die: the client's view, the provider's own
journal and the ledger are laid side by side.
"""

import pytest

pytest.register_assert_rewrite(*(f"faults.money.{name}" for name in ("books", "crowd", "stand")))
