"""``subscriptions/listen``: a stream of the changes that a client opted in to, from any worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.server import MemoryStore, RedisStore, Server, SQLiteStore
from streamhttp_client.server.stores.base import StoreUnavailable
from tests.server.kit import Direct, Reply, cut, events
from tests.server.modern_kit import PREFIX, ModernDirect, ModernWire, meta
from tests.server.redis_server import redis_url  # noqa: F401

SUBSCRIPTION = f"{PREFIX}subscriptionId"
EVERYTHING = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourcesListChanged": True,
    "resourceSubscriptions": ["x://a", "x://b"],
}


def make_server() -> Server:
    server = Server("listen", "1")
    server.tool(name="tool")(hello)
    server.prompt(name="prompt")(hello)
    server.resource("x://a")(hello)
    server.resource("x://b")(hello)
    return server


def hello() -> str:
    return "hello"


def heard(reply: Reply) -> Iterator[Any]:
    """The messages of a stream, as they come."""
    for chunk in reply.chunks:
        for line in chunk.splitlines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def listen(direct: ModernDirect, **wanted: Any) -> Reply:
    return direct.ask("subscriptions/listen", {"notifications": wanted})


@pytest.fixture
def server() -> Server:
    return make_server()


@pytest.fixture
def direct(server: Server) -> Iterator[ModernDirect]:
    app = server.wsgi(stateless=True)
    yield ModernDirect(app)
    assert app.close()
    assert list(app.store.iter_sessions()) == []


def test_acknowledged_first(server: Server, direct: ModernDirect) -> None:
    """S26-01, S26-02, S26-03: the first message says what is honoured, and each says whose it is."""
    with listen(direct, **EVERYTHING) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        found = heard(reply)
        first = next(found)
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert first["params"] == {"notifications": EVERYTHING, "_meta": {SUBSCRIPTION: 1}}
        for kind in ("tools", "prompts", "resources"):
            assert server.notify_list_changed(kind) == 1  # type: ignore[arg-type]
            assert next(found) == {
                "jsonrpc": "2.0",
                "method": f"notifications/{kind}/list_changed",
                "params": {"_meta": {SUBSCRIPTION: 1}},
            }
        assert server.notify_resource_updated("x://b") == 1
        assert next(found)["params"] == {"uri": "x://b", "_meta": {SUBSCRIPTION: 1}}
    assert server.notify_list_changed("tools") == 0


def test_acknowledged_first_whatever_changes_meanwhile(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """S26-01: "The server MUST send notifications/subscriptions/acknowledged as the first message"."""
    app = server.wsgi()
    begin = app.store.create_log

    def change(session: str, log: str, **options: Any) -> bool:
        made = begin(session, log, **options)
        server.notify_list_changed("tools")
        return made

    monkeypatch.setattr(app.store, "create_log", change)
    with listen(ModernDirect(app), toolsListChanged=True) as reply:
        assert next(heard(reply))["method"] == "notifications/subscriptions/acknowledged"
        assert server.notify_list_changed("tools") == 1
    app.close()


def test_only_what_was_asked_for(server: Server, direct: ModernDirect) -> None:
    """S26-01: "The server MUST NOT send notification types the client has not explicitly requested"."""
    with listen(direct, promptsListChanged=True, toolsListChanged=False, resourceSubscriptions=["x://a"]) as reply:
        found = heard(reply)
        wanted = {"promptsListChanged": True, "resourceSubscriptions": ["x://a"]}
        assert next(found)["params"]["notifications"] == wanted
        assert server.notify_list_changed("tools") == 0
        assert server.notify_resource_updated("x://b") == 0
        assert server.notify_list_changed("prompts") == 1
        assert next(found)["method"] == "notifications/prompts/list_changed"


def test_only_what_the_server_has() -> None:
    """S26-02: what it does not support is omitted, and the stream is open all the same."""
    server = Server("bare", "1")
    server.tool(name="tool")(hello)
    app = server.wsgi()
    with listen(ModernDirect(app), **EVERYTHING, somethingNew=True) as reply:
        assert next(heard(reply))["params"]["notifications"] == {"toolsListChanged": True}
    app.close()


def test_ids_keep_their_type(server: Server, direct: ModernDirect) -> None:
    """S26-04: each stream has the id of its own request, as the client wrote it."""
    params: dict[str, Any] = {"notifications": {"toolsListChanged": True}}
    with ExitStack() as stack:
        streams = []
        for request_id in ("1", 1, "listen:0"):
            message = {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen", "params": params}
            params["_meta"] = meta()
            reply = direct.post(message, MCP_PROTOCOL_VERSION="2026-07-28", MCP_METHOD="subscriptions/listen")
            streams.append((request_id, heard(stack.enter_context(reply))))
        for request_id, found in streams:
            assert next(found)["params"]["_meta"][SUBSCRIPTION] == request_id
        assert server.notify_list_changed("tools") == 3
        for request_id, found in streams:
            got = next(found)["params"]["_meta"][SUBSCRIPTION]
            assert (got, type(got)) == (request_id, type(request_id))


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        [],
        {"toolsListChanged": "yes"},
        {"resourceSubscriptions": "x://a"},
        {"resourceSubscriptions": [1]},
        {"resourceSubscriptions": ["x"] * 101},
        {"resourceSubscriptions": ["x" * 330] * 100},
        {"resourceSubscriptions": ["\u20ac" * 5500]},
        {"taskIds": "t"},
    ],
)
def test_filters_that_are_none(direct: ModernDirect, wanted: Any) -> None:
    """S26-01: 400 and -32602, and nothing is begun."""
    params = {} if wanted is None else {"notifications": wanted}
    code = -32021 if isinstance(wanted, dict) and "taskIds" in wanted else -32602
    assert direct.status("subscriptions/listen", params) == (400, code)


def test_graceful_end(server: Server) -> None:
    """S26-06: a server that stops says so by a result, which names the subscription."""
    app = server.wsgi()
    with listen(ModernDirect(app), toolsListChanged=True) as reply:
        found = heard(reply)
        assert next(found)
        assert app.close()
        (last,) = found
    assert last == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "resultType": "complete",
            "_meta": {f"{PREFIX}serverInfo": {"name": "listen", "version": "1"}, SUBSCRIPTION: 1},
        },
    }


def test_loss(server: Server) -> None:
    """S26-06, S26-07: where changes were lost there is no result, but ``notifications/cancelled``."""
    app = server.wsgi(store=MemoryStore(max_log_events=4))
    with listen(ModernDirect(app), toolsListChanged=True) as reply:
        found = heard(reply)
        assert next(found)
        for _ in range(9):
            server.notify_list_changed("tools")
        *_, last = found
    assert (last["method"], last["params"]["requestId"]) == ("notifications/cancelled", 1)
    assert last["params"]["_meta"] == {SUBSCRIPTION: 1}
    app.close()


def test_no_streams_no_subscriptions(server: Server) -> None:
    """S26-01: an endpoint of JSON alone does not offer what it cannot do."""
    app = server.wsgi(json_response=True)
    direct = ModernDirect(app)
    assert direct.status("subscriptions/listen", {"notifications": {}}) == (404, -32601)
    capabilities = direct.result("server/discover")["capabilities"]
    assert (capabilities["tools"], capabilities["resources"]) == ({}, {})
    app.close()


def test_too_many(server: Server) -> None:
    """One stream more than may be is 503; the place of one that ended is free."""
    app = server.wsgi(max_streams=1)
    direct = ModernDirect(app)
    with listen(direct, toolsListChanged=True), listen(direct, toolsListChanged=True) as refused:
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    full = server.wsgi(store=MemoryStore(max_sessions=0))
    for _ in range(2):
        with listen(ModernDirect(full), toolsListChanged=True) as refused:
            assert refused.status == 503
    with listen(direct, toolsListChanged=True) as reply:
        assert reply.status == 200
    app.close()
    full.close()


@pytest.mark.parametrize("part", ["create_log", "append", "claim"])
def test_store_that_fails_at_the_beginning(server: Server, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and nothing is left: neither the place of a stream nor a session."""
    app = server.wsgi(max_streams=1)
    direct = ModernDirect(app)

    def away(*given: Any, **named: Any) -> Any:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(app.store, part, away)
        for _ in range(2):
            with listen(direct, toolsListChanged=True) as reply:
                assert reply.status == 503
                assert reply.json()["error"]["message"] == "the store is away"
    assert list(app.store.iter_sessions()) == []
    with listen(direct, toolsListChanged=True) as reply:
        assert reply.status == 200
    app.close()


def test_nobody_can_speak_in_a_subscription(server: Server) -> None:
    """H25-19: what the store holds for a stream is no session of the other era."""
    app = server.wsgi()
    with listen(ModernDirect(app), toolsListChanged=True):
        ((name, _),) = app.store.iter_sessions()
        other = Direct(app)
        other.session = name
        for method in ("POST", "GET", "DELETE"):
            with other.send(method, b'{"jsonrpc":"2.0","id":1,"method":"ping"}') as reply:
                assert reply.status == 404
        assert app.store.get_session(name) is not None
    app.close()


@pytest.fixture(params=["sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Makes store objects on the same data, as other processes would have them."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    with ExitStack() as stack:

        def build() -> Any:
            store: Any = (
                RedisStore(url, prefix=f"modern:{tmp_path.name}") if url else SQLiteStore(tmp_path / "store.db")
            )
            stack.callback(store.close)
            return store

        yield build


def test_changes_from_another_worker(make_store: Callable[[], Any]) -> None:
    """S26-04: whichever process says it, it is heard where the client listens; and in both eras at once."""
    here, there = make_server(), make_server()
    near, far = here.wsgi(store=make_store()), there.wsgi(store=make_store())
    session = Direct(near).initialize()
    with listen(ModernDirect(near), toolsListChanged=True) as reply, session.send("GET") as old:
        found, also = heard(reply), heard(old)
        assert next(found)["method"] == "notifications/subscriptions/acknowledged"
        next(old.chunks)
        assert there.notify_list_changed("tools") == 2
        assert next(found)["params"] == {"_meta": {SUBSCRIPTION: 1}}
        assert "params" not in next(also)
    assert there.notify_list_changed("prompts") == 1  # the session of the other era may come back
    near.close()
    far.close()


def test_over_sockets(server: Server) -> None:
    """S26-05, S26-09: comments while nothing happens; a client that closes the stream has ended it."""
    pytest.importorskip("cheroot")
    with server.serve(keepalive=0.05) as running:
        response = ModernWire(running.url).ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        assert response.headers["X-Accel-Buffering"] == "no"
        assert json.loads(next(events(response))["data"])["method"] == "notifications/subscriptions/acknowledged"
        lines = iter(response.readline, b"")
        assert next(lines) == b":\n"
        server.notify_list_changed("tools")
        assert any(b"list_changed" in line for line in lines)
        cut(response)
        for _ in iter(lambda: bool(list(running.app.store.iter_sessions())), False):
            pass  # until the next comment finds nobody; the suite's own time bounds it
        assert server.notify_list_changed("tools") == 0


def test_stop_over_sockets(server: Server) -> None:
    """S26-06: the result arrives when the server stops."""
    pytest.importorskip("cheroot")
    running = server.serve()
    with ModernWire(running.url).ask("subscriptions/listen", {"notifications": {}}) as response:
        found = events(response)
        assert next(found)
        running.stop()
        (last,) = found
    assert json.loads(last["data"])["result"]["resultType"] == "complete"
