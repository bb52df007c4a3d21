"""Every test of the client ends with no thread and no socket more than it began with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client._kinds import AnyServer
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


@pytest.fixture
def session_server(_nothing_left: None) -> Iterator[AnyServer]:
    with AnyServer("session") as server:
        yield server


@pytest.fixture
def modern_server(_nothing_left: None) -> Iterator[AnyServer]:
    with AnyServer("modern") as server:
        yield server


@pytest.fixture
def channel_server(_nothing_left: None) -> Iterator[AnyServer]:
    with AnyServer("channel") as server:
        yield server
