"""Fan-outs under test; their parts are in `scripted_legs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
