"""Databases that are there and do not serve: the client is told to come back, and nothing is given away."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import RedisStore, Server, SQLiteStore, Store
from tests.server.kit import Direct
from tests.server.redis_server import run_redis

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}


def refused(store: Store, session: str | None = None) -> bool:
    """Whether a request is answered with 503, and a time to come back."""
    direct = Direct(Server("test", "1").wsgi(store=store))
    direct.session = session
    with direct.request("initialize" if session is None else "ping", INITIALIZE) as reply:
        body = reply.body()
        return reply.status == 503 and "retry-after" in reply.headers and b"does not answer" in body


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)
    store = SQLiteStore(path)
    assert refused(store) and refused(store)
    store.close()


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)  # a folder
    assert refused(store)
    store.close()


def test_no_database_in_memory() -> None:
    """It would be a file of that name."""
    for path in (":memory:", ""):
        with pytest.raises(LocalProtocolError, match="MemoryStore"):
            SQLiteStore(path)


def test_redis_without_memory(tmp_path: Path) -> None:
    """It takes no writes, and serves again as soon as it does."""
    redis = pytest.importorskip("redis")
    server = Server("test", "1")
    with run_redis(tmp_path) as url:
        store = RedisStore(url)
        session = Direct(server.wsgi(store=store)).initialize().session
        with redis.Redis.from_url(url) as admin:
            admin.config_set("maxmemory", 1)
            assert refused(store, session)
            admin.config_set("maxmemory", 0)
        assert not refused(store, session)
        store.close()
