"""Fixtures for tests against real peers: each is started once per run, for all tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.peers import Kind, Peer, running


@pytest.fixture(scope="session")
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """The peer of the kind that the test is parametrized with (``indirect``)."""
    kind = request.param
    assert isinstance(kind, Kind)
    with running(kind) as started:
        yield started
