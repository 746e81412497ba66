"""What several unit tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from koprogo_bench import Bench, Snapshot
from ovh_stand_in import Api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """The stand-in for OVH's API, on loopback."""
    running = Api(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A server on which three commits were deployed, to be restored by each test."""
    return Snapshot(tmp_path_factory.mktemp("three"))


@pytest.fixture
def bench(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """That server, the last deploy a while ago."""
    return snapshot.restored(monkeypatch)
