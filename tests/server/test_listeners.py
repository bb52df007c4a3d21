"""Streams on which a client listens: which one hears what, and what is left when one comes back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.server import MemoryStore, Server, SQLiteStore, WSGIApp
from streamhttp_client.server.listeners import listen, tell
from streamhttp_client.server.sessions import ServerSession
from tests.server.kit import Direct, Reply


def heard(reply: Reply) -> Iterator[str]:
    for chunk in reply.chunks:
        for line in chunk.decode().splitlines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])["method"].split("/")[1]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    store: Any = (
        MemoryStore(max_log_events=8)
        if request.param == "memory"
        else SQLiteStore(tmp_path / "store.db", max_log_events=8)
    )
    yield store
    store.close()


def test_more_was_said_than_is_held(server: Server, store: Any) -> None:
    """A client that was away gets what is left, and hears on; not an empty stream again and again."""
    app = server.wsgi(store=store)
    direct = Direct(app).initialize()
    with direct.send("GET") as listening:
        next(listening.chunks)
    for kind in ("tools",) * 39 + ("prompts",):
        server.notify_list_changed(kind)
    with direct.send("GET") as listening:
        found = heard(listening)
        kinds = [next(found) for _ in range(6)]
        while kinds[-1] != "prompts":
            kinds.append(next(found))
        assert len(kinds) <= 8 and set(kinds[:-1]) == {"tools"}
        server.notify_list_changed("resources")
        assert next(found) == "resources"
    assert app.close()


def test_newest_with_a_reader_hears(server: Server, store: Any) -> None:
    """Not one that is known to be closed; with none open the newest keeps it."""
    app = server.wsgi(store=store)
    direct = Direct(app).initialize()
    with direct.send("GET") as older:
        next(older.chunks)
        with direct.send("GET") as newer:
            next(newer.chunks)
            server.notify_list_changed("tools")
            assert next(heard(newer)) == "tools"
        server.notify_list_changed("prompts")
        assert next(heard(older)) == "prompts"
    assert server.notify_list_changed("resources") == 1
    with direct.send("GET") as again:
        # After the one that was on the way when it closed: nobody knows whether that arrived.
        assert list(itertools.islice(heard(again), 2)) == ["tools", "resources"]
    assert app.close()


def test_two_that_begin_at_the_same_time(store: Any) -> None:
    """Neither undoes the other: both were read from the session before either was kept."""
    store.create_session("s", {})
    seen = ServerSession("s", store.get_session("s"))
    logs = [listen(store, seen), listen(store, seen)]
    names = {place[0] for place in logs if place is not None}
    assert len(names) == 2
    assert set(ServerSession("s", store.get_session("s")).listeners) == names
    for name in names:
        store.claim("s", name)
    assert tell(store, "notifications/tools/list_changed", None, lambda session: True) == 1


def test_listeners_that_are_gone_make_room(store: Any) -> None:
    store.create_session("s", {f"listener:g{number}": number for number in range(4)})
    place = listen(store, ServerSession("s", store.get_session("s")))
    assert place is not None and ServerSession("s", store.get_session("s")).listeners == (place[0],)


def test_endpoint_that_is_made_while_all_are_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread of the service may mount one at any moment."""
    store = MemoryStore()
    apps = [server.wsgi(store=store)]

    def found(app: WSGIApp) -> MemoryStore:
        apps.append(server.wsgi(store=store))
        return store

    with monkeypatch.context() as patch:
        patch.setattr(WSGIApp, "store", property(found, lambda app, value: None), raising=False)
        assert server.notify_list_changed("tools") == 0
    assert len(apps) > 1
