"""Wrong options are found out when the server is made, and not by its clients."""

from __future__ import annotations

from typing import Any

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import BearerAuth, InsufficientScope, MemoryStore, RedisStore, Server, Store


@pytest.fixture
def server() -> Server:
    return Server("test", "1")


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("path", 5, "path must be"),
        ("allowed_hosts", ["http://a.com"], "'mcp.example.com'"),
        ("allowed_hosts", ["*.example.com"], "'mcp.example.com'"),
        ("allowed_hosts", ["a.com/mcp"], "'mcp.example.com'"),
        ("allowed_hosts", ["::1"], "'mcp.example.com'"),
        ("allowed_hosts", [""], "'mcp.example.com'"),
        ("allowed_hosts", [5], "'mcp.example.com'"),
        ("allowed_origins", ["a.com"], "'https://app.example.com'"),
        ("allowed_origins", ["https://a.com/x"], "'https://app.example.com'"),
        ("allowed_origins", ["https://*.a.com"], "'https://app.example.com'"),
        ("allowed_origins", [None], "'https://app.example.com'"),
        ("principal", "me", "principal must be a function"),
        ("bearer", "token", "bearer must be"),
        ("store", "redis://localhost", r"RedisStore\(url\)"),
        ("store", "store.db", r"SQLiteStore\(path\)"),
        ("max_body", "4M", "max_body must be a number"),
        ("max_body", 0, "max_body must be a number"),
        ("max_threads", -1, "max_threads must be a number"),
        ("max_streams", True, "max_streams must be a number"),
        ("keepalive", None, "keepalive must be a number"),
        ("keepalive", 0, "keepalive must be a number"),
        ("keepalive", float("inf"), "keepalive must be a number"),
        ("retry_ms", -1, "retry_ms must be a number"),
        ("session_ttl", "1h", "session_ttl must be a number"),
        ("session_ttl", -1, "session_ttl must be a number"),
        ("state_ttl", float("nan"), "state_ttl must be a number"),
        ("task_ttl", "x", "task_ttl must be a number"),
        ("state_secret", 5, "state_secret must be"),
    ],
)
def test_options_of_an_endpoint(server: Server, option: str, value: Any, problem: str) -> None:
    with pytest.raises(LocalProtocolError, match=problem):
        server.wsgi(**{option: value})


class Own(Store):
    """A store of somebody's own that lacks something; what :class:`Store` has in its place returns None."""

    shared = False

    def create_session(self, session: str, fields: Any) -> None: ...


def test_store_that_lacks_something(server: Server) -> None:
    with pytest.raises(LocalProtocolError, match=r"Own lacks session_ttl, append, .*, secret, update_session, wake$"):
        server.wsgi(store=Own())  # type: ignore[abstract]

    class Passed:
        def __init__(self, store: Store) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

    store: Any = Passed(MemoryStore())
    assert server.wsgi(store=store).store is store


def test_hosts_and_origins_in_any_iterable(server: Server) -> None:
    """Whatever a browser can send may be named, with case and slash as one has them."""
    hosts = (host for host in ("A.example.com", "a_b", "10.0.0.1:80", "[::1]:8000", "*"))
    origins = (
        origin for origin in ("HTTPS://a.example.com/", "chrome-extension://abcdef", "null", "http://[::1]:3000")
    )
    server.wsgi(allowed_hosts=hosts, allowed_origins=origins)


@pytest.mark.parametrize("port", ["8000", 1.5, 65536, None])
def test_ports(server: Server, port: Any) -> None:
    with pytest.raises(LocalProtocolError, match="port must be an integer"):
        server.serve(port=port)


@pytest.mark.parametrize("most", [0, -1, "x"])
def test_connections(server: Server, most: Any) -> None:
    with pytest.raises(LocalProtocolError, match="max_connections must be"):
        server.serve(max_connections=most)


def test_any_path(server: Server) -> None:
    """As for ``wsgi()``, None answers everywhere."""
    pytest.importorskip("cheroot")
    with server.serve(path=None) as running:
        assert running.url == f"http://127.0.0.1:{running.port}/"


@pytest.mark.parametrize("options", [{"page_size": 0}, {"page_size": "5"}, {"ttl": "5"}, {"version": 1}])
def test_options_of_a_server(options: Any) -> None:
    with pytest.raises(LocalProtocolError, match=next(iter(options))):
        Server(**{"name": "test", "version": "1", **options})


@pytest.mark.parametrize("uri", ["", "no scheme", "/path", "a://b\n", "a://b c", 5])
def test_resources_without_a_uri(server: Server, uri: Any) -> None:
    with pytest.raises(LocalProtocolError, match="with a scheme"):
        server.resource(uri, name="a")(lambda: "")


def test_completions(server: Server) -> None:
    """There is one for each argument, and it takes what it will be given."""
    server.completion(prompt="p", argument="a")(lambda typed, known: [])
    with pytest.raises(LocalProtocolError, match="already"):
        server.completion(prompt="p", argument="a")(lambda typed, known: [])
    with pytest.raises(LocalProtocolError, match="what is known"):
        server.completion(prompt="p", argument="b")(lambda typed: [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"authorization_servers": "https://auth.example.com"}, "authorization_servers must be a list"),
        ({"scopes": "read write"}, "scopes must be a list"),
        ({"check": "token"}, "check must be a function"),
    ],
)
def test_bearer(options: Any, problem: str) -> None:
    given = {"check": lambda token: token, "resource": "https://a/mcp", "authorization_servers": ["https://b"]}
    with pytest.raises(LocalProtocolError, match=problem):
        BearerAuth(**{**given, **options})


@pytest.mark.parametrize("scope", ["", "a\r\nX-Evil: 1", 'a" b="c', "ü", "a  b", None])
def test_scopes(scope: Any) -> None:
    """They go into a header, and perhaps come from a token."""
    with pytest.raises(LocalProtocolError, match="visible ASCII"):
        InsufficientScope(scope)
    assert InsufficientScope("tools:call files.read").scope == "tools:call files.read"


def test_redis_address() -> None:
    """What it is not is said at once, without what it is: it may hold a password."""
    with pytest.raises(LocalProtocolError, match="begins with redis://") as caught:
        RedisStore("localhost:secret@6379")
    assert "secret" not in str(caught.value)
