"""Databases that are there and do not serve: the client is told to come back, and nothing is given away."""

from __future__ import annotations

import pickle
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import LocalProtocolError, StreamHTTPError
from streamhttp_client.server import (
    MemoryStore,
    RedisStore,
    Server,
    SQLiteStore,
    Store,
    StoreError,
    StoreUnavailable,
)
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


def test_store_that_fails_in_a_request(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong is said without internals, and is no fault of the server that its log has to explain."""
    store = MemoryStore()
    direct = Direct(Server("test", "1").wsgi(store=store)).initialize()

    def away(session: str, changes: Any) -> bool:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(store, "update_session", away)
    assert direct.answer("logging/setLevel", {"level": "debug"}) == {
        "code": -32603,
        "message": "the store does not answer",
    }
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("where", ["sqlite", "redis"])
def test_serve_finds_out_at_once(where: str, tmp_path: Path) -> None:
    """Not the first client; the reason is named, and nothing is left running."""
    store: Store
    if where == "sqlite":
        store, reason = SQLiteStore(tmp_path), "unable to open database file"
    else:
        pytest.importorskip("redis")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        store, reason = RedisStore(f"redis://user:secret@127.0.0.1:{port}/0"), "refused"
    before = set(threading.enumerate())
    with pytest.raises(StoreUnavailable, match=f"does not answer: .*{reason}") as caught:
        Server("test", "1").serve(store=store)
    assert "secret" not in str(caught.value) and set(threading.enumerate()) <= before
    store.close()


def test_what_a_service_says_to_a_store_that_is_away(tmp_path: Path) -> None:
    """It can be caught by a public name, or with all other errors of this package."""
    server = Server("test", "1")
    store = SQLiteStore(tmp_path)
    app = server.wsgi(store=store)
    for notify in (lambda: server.notify_list_changed("tools"), lambda: server.notify_resource_updated("a:b")):
        with pytest.raises(StoreUnavailable) as caught:
            notify()
        assert isinstance(caught.value, StoreError) and isinstance(caught.value, StreamHTTPError)
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is StoreUnavailable and str(again) == str(caught.value)
    app.close()
    store.close()


def test_no_such_port() -> None:
    with pytest.raises(LocalProtocolError, match="port must be an integer from 0 to 65535, got 99999"):
        Server("test", "1").serve(port=99999)
