"""A short run of the chaos command; ``python -m tests.server.chaos`` runs it at length."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.server.chaos import run

pytestmark = pytest.mark.live


@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_nothing_is_lost(store: str, tmp_path: Path) -> None:
    """Connections are reset at random and each worker is killed once: every event of every call whose handler lived
    comes once and in order, and every other call ends with an error that says so.
    """
    pytest.importorskip("gunicorn")
    if store == "redis":
        pytest.importorskip("redis")
    for program in ["nginx", "redis-server"][: 2 if store == "redis" else 1]:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {program}")
    tally = run(store, clients=12, seconds=6.0, folder=tmp_path)
    assert tally.problems == []
    assert tally.counts["workers killed"] == 2
    assert tally.counts["calls that were whole"] and tally.counts["cuts"] and tally.counts["resumptions"]
