from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamhttp_client.server import Server, WSGIApp
from tests.server.kit import Direct


@pytest.fixture
def server() -> Server:
    server = Server("test", "1.0", instructions="Use it well.", title="Test")

    @server.tool()
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def explode() -> str:
        raise ValueError("the password is hunter2")

    return server


@pytest.fixture
def app(server: Server) -> Iterator[WSGIApp]:
    app = server.wsgi()
    yield app
    assert app.close()
    app.store.close()


@pytest.fixture
def direct(app: WSGIApp) -> Direct:
    return Direct(app).initialize()
