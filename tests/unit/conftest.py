"""What several unit tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ovh_stand_in import Api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """The stand-in for OVH's API, on loopback."""
    running = Api(tmp_path)
    yield running
    running.stop()
