"""Every test of the client ends with no thread and no socket more than it began with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.rawserver import RawMCPServer
from tests.transport._faults import nothing_left


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def server(_nothing_left: None) -> Iterator[RawMCPServer]:
    """A well-behaved server that declares everything."""
    from tests.client._peer import EVERYTHING

    with RawMCPServer(capabilities=EVERYTHING) as server:
        yield server
