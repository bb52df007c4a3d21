"""What README says of the server half: all revisions but the oldest at one address, as each request wants it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from streamhttp_client import CapabilityError, Client, LogMessage, Progress, RetryPolicy, RPCError
from streamhttp_client.protocol.models.deferred import DeferredTask
from streamhttp_client.protocol.models.notifications import ToolListChanged
from streamhttp_client.protocol.versions import REVISIONS
from streamhttp_client.server import Context, Header, RunningServer, Server, SQLiteStore
from tests.server.kit import Direct
from tests.server.modern_kit import PREFIX, meta
from tests.support_table.table import README
from tests.support_table.transport_rows import waits

pytest.importorskip("cheroot", reason="the embedded server needs the extra [server]")
pytest.importorskip("msgspec", reason="the embedded server needs the extra [server]")

BOUND = 15.0  # seconds; nothing comes near unless it fails
POLL = 0.01
STOPPED = threading.Event()  # that a handler has noticed that nobody wants its result any more
SESSIONS = ("2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
TOOLS = {"ask", "change", "crunch", "endless", "errand", "interrupted"}
FORM = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "string", "default": "M"}}}


@dataclasses.dataclass
class Counted:
    rows: int


def build() -> Server:
    """A server that can do all there is."""
    server = Server("half", "1.0", ttl=60)

    @server.tool()
    def crunch(rows: int, ctx: Context, where: Annotated[str, Header("Where")] = "here") -> Counted:
        """Crunch some rows."""
        for row in range(rows):
            ctx.progress(row + 1, rows)
        ctx.log("warning", f"crunched {where}")
        return Counted(rows)

    @server.tool()
    def ask(ctx: Context) -> str:
        """Ask the user, the model, and for the roots."""
        content = ctx.elicit("Who?", FORM).content or {}
        said = ctx.ask_sampling("How are you?", max_tokens=5)
        return f"{content['name']} {content['size']}, {said.text}, {ctx.roots()[0].uri}"

    @server.tool(task=True)
    def errand() -> str:
        """Take a while."""
        return "done"

    @server.tool()
    def change() -> str:
        """Say that the tools are others now."""
        server.notify_list_changed("tools")
        return "changed"

    @server.tool()
    def interrupted(ctx: Context) -> str:
        """Close the connection, as far as one may, and go on."""
        ctx.progress(1, 2)
        ctx.close_connection(retry_ms=0)
        ctx.progress(2, 2)
        return "finished"

    @server.tool()
    def endless(ctx: Context) -> str:
        """Work until somebody has had enough."""
        for number in range(int(BOUND / POLL)):
            ctx.progress(number)  # which also shows at once that the stream was closed
            if ctx.cancelled:
                STOPPED.set()
                break
            STOPPED.wait(POLL)
        return "stopped"

    @server.resource("a:{n}")
    def many(n: str) -> str:
        return f"resource {n}"

    @server.resource("a:1")
    def one() -> str:
        return "resource one"

    @server.prompt()
    def greeting(who: str) -> str:
        return f"Hello {who}"

    @server.completion(prompt="greeting", argument="who")
    def who(typed: str, chosen: dict[str, str]) -> list[str]:
        return [f"{typed}da", *chosen.values()]

    return server


@pytest.fixture(scope="module", params=["memory", "SQLite"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The one address."""
    if request.param == "memory":
        with build().serve() as running:
            yield running
        return
    store = SQLiteStore(tmp_path_factory.mktemp("half") / "store.db")
    with build().serve(store=store) as running:
        yield running
    store.close()


def open_client(running: RunningServer, revision: str, **options: Any) -> Client:
    return Client(running.url, **{"protocol": revision, "timeout": BOUND, "listen_in_background": False, **options})


def test_the_words() -> None:
    """They are those that are proved here; Redis, which needs a server of its own, in the tests of the stores."""
    words = " ".join(README.read_text("utf-8").split())
    which = "The server half speaks all of these but 2024-11-05, at one address"
    assert f"{which}: with sessions (in memory, SQLite or Redis) or stateless, as each request wants it." in words


@pytest.mark.parametrize("revision", [*SESSIONS, MODERN])
def test_the_server_half(running: RunningServer, revision: str) -> None:
    """What the table says of a revision is there on the other side too, at the same address for all of them."""
    modern = revision == MODERN
    seen: list[Progress] = []
    logs: list[LogMessage] = []
    with open_client(running, revision) as client:
        assert client.session.protocol_version == revision
        assert (client.session.session_id is None) is modern
        assert client.era == ("stateless" if modern else "session")
        capabilities = client.session.capabilities
        assert capabilities is not None and capabilities.tasks is None  # those of 2025-11-25 are the client's only
        assert capabilities.declares("extensions.io.modelcontextprotocol/tasks") is modern

        assert {tool.name for tool in client.list_tools()} == TOOLS
        assert [resource.uri for resource in client.list_resources()] == ["a:1"]
        assert [template.uri_template for template in client.list_resource_templates()] == ["a:{n}"]
        assert client.read_resource("a:2").contents[0].text == "resource 2"  # type: ignore[union-attr]
        assert [prompt.name for prompt in client.list_prompts()] == ["greeting"]
        assert client.get_prompt("greeting", {"who": "Ada"}).messages[0].content.text == "Hello Ada"  # type: ignore[union-attr]
        prompt = {"type": "ref/prompt", "name": "greeting"}
        completion = client.complete(prompt, {"name": "who", "value": "A"}, {"other": "chosen"}).completion
        assert list(completion.values) == ["Ada", "chosen"]
        client.send_ping()

        client.set_logging_level("warning")
        result = client.call_tool("crunch", {"rows": 2, "where": "there"}, on_progress=seen.append, on_log=logs.append)
        assert result.data == {"rows": 2}
        assert [(event.progress, event.total) for event in seen] == [(1, 2), (2, 2)]
        assert [message.data for message in logs] == ["crunched there"]

        with client.listen() as events:
            assert client.call_tool("change").text == "changed"
            assert isinstance(next(events), ToolListChanged)


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25", MODERN])
def test_the_server_asks(running: RunningServer, revision: str) -> None:
    """On the call's own stream, or in rounds."""
    with open_client(
        running,
        revision,
        elicitation=lambda params: {"action": "accept", "content": {"name": "Ada"}},
        sampling=lambda params: {"role": "assistant", "content": {"type": "text", "text": "fine"}, "model": "m"},
        roots=["file:///work"],
    ) as client:
        assert client.call_tool("ask").text == "Ada M, fine, file:///work"


@pytest.mark.parametrize("revision", [*SESSIONS, MODERN])
def test_the_server_and_tasks(running: RunningServer, revision: str) -> None:
    """The extension is served; the tasks of 2025-11-25 are not, and such a tool is one like any other then."""
    with waits(), open_client(running, revision) as client:
        assert client.call_tool("errand").text == "done"
        if revision == MODERN:
            task = client.call_tool_as_task("errand")
            assert isinstance(task, DeferredTask)
            assert client.wait_task(task).text == "done"
        else:
            with pytest.raises(CapabilityError):
                client.call_tool_as_task("errand")


@pytest.mark.parametrize("revision", [*SESSIONS, MODERN])
def test_the_server_closes_streams(running: RunningServer, revision: str) -> None:
    """Only where clients expect it; elsewhere the stream stays, and the result comes on it."""
    seen: list[Progress] = []
    with open_client(running, revision, retry=RetryPolicy(base=0.0)) as client:
        assert client.call_tool("interrupted", on_progress=seen.append).text == "finished"
    assert [event.progress for event in seen] == [1, 2]
    assert [event.attempt for event in seen] == ([1, 2] if revision == "2025-11-25" else [1, 1])


@pytest.mark.parametrize("revision", [*SESSIONS, MODERN])
def test_the_server_is_told_to_stop(running: RunningServer, revision: str) -> None:
    """By a notification, or by the end of the stream."""
    STOPPED.clear()
    with open_client(running, revision) as client, client.stream_tool("endless") as call:
        next(call)
        call.cancel()
        assert STOPPED.wait(BOUND)


@pytest.mark.parametrize("revision", [*SESSIONS, MODERN])
def test_what_only_one_revision_has(running: RunningServer, revision: str) -> None:
    """Results say for how long they may be kept, and what they are, where that is in the revision."""
    with open_client(running, revision) as client:
        listed = client.request("tools/list")
    modern = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "private"}
    assert {key: listed[key] for key in modern if key in listed} == (modern if revision == MODERN else {})


def test_all_at_one_address(running: RunningServer) -> None:
    """Clients of all revisions at the same time; who finds out by itself gets the newest."""
    results: dict[str, Any] = {}
    together = threading.Barrier(5)

    def talk(revision: str) -> None:
        with open_client(running, revision) as client:
            together.wait(BOUND)
            results[revision] = client.call_tool("crunch", {"rows": 1}).data, client.connect().protocol_version

    revisions = [*SESSIONS, MODERN, "auto"]
    threads = [threading.Thread(target=talk, args=(revision,)) for revision in revisions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert results == {revision: ({"rows": 1}, MODERN if revision == "auto" else revision) for revision in revisions}


@pytest.mark.parametrize("revision", [*SESSIONS, MODERN])
def test_the_server_and_batches(revision: str) -> None:
    """An array is answered at 2025-03-26, and refused where it is not in the revision."""
    app = build().wsgi()
    try:
        direct, params, headers = Direct(app), {}, {}
        if revision == MODERN:
            params, headers = {"_meta": meta()}, {"MCP_METHOD": "tools/list"}
        else:
            direct.initialize(revision)
        batch = [{"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": params} for id in (1, 2)]
        with direct.post(batch, MCP_PROTOCOL_VERSION=revision, **headers) as reply:
            assert reply.status == (200 if revision == "2025-03-26" else 400)
            if reply.status == 200:
                assert [answer["id"] for answer in reply.json()] == [1, 2]
    finally:
        app.close()
        app.store.close()


def test_the_server_has_no_stream_of_2024_11_05(running: RunningServer) -> None:
    """Who wants HTTP+SSE is refused, and told so."""
    with pytest.raises(RPCError) as caught, open_client(running, "2024-11-05"):
        pass
    assert caught.value.status == 400


def test_the_server_offers_another_to_who_wants_2024_11_05() -> None:
    """The newest that a handshake agrees on ("another protocol version it supports"); and 2024-11-05 is not among those
    that it names.
    """
    app = build().wsgi()
    try:
        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        assert Direct(app).answer("initialize", params)["protocolVersion"] == "2025-11-25"
        params = {"_meta": meta() | {f"{PREFIX}protocolVersion": "1999-01-01"}}
        headers = {"MCP_PROTOCOL_VERSION": "1999-01-01", "MCP_METHOD": "tools/list"}
        with Direct(app).request("tools/list", params, **headers) as reply:
            supported = reply.json()["error"]["data"]["supported"]
        assert sorted(supported) == sorted(set(REVISIONS) - {"2024-11-05"})
    finally:
        app.close()
        app.store.close()
