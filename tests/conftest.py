"""What holds for every test: none knows what another has learned of a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamhttp_client.client.eras import KNOWN_SERVERS


@pytest.fixture(autouse=True)
def _know_no_server() -> Iterator[None]:
    yield
    KNOWN_SERVERS.clear()
