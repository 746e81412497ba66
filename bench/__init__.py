"""Measurements that the README quotes, on real machines of the sandbox.

`python -m bench.deploys` counts what clients lose while a server deploys. The server is the one of tests/machine.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "machine"))
