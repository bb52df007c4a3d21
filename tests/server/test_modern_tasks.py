"""The tasks extension: calls whose results are collected later, from any worker."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import RPCError, ToolError
from streamhttp_client.server import Context, MemoryStore, RedisStore, Server, SQLiteStore, WSGIApp, delivery
from streamhttp_client.server.inputs import MAX_KEPT
from streamhttp_client.server.stores.base import StoreFull, StoreUnavailable
from tests.server.kit import PATIENCE, Direct
from tests.server.modern_kit import ALL, CLIENT, PREFIX, TASKS, ModernDirect, meta
from tests.server.redis_server import redis_url  # noqa: F401

REQUIRED = {"requiredCapabilities": TASKS}


class Scene:
    """What the handlers and a test tell each other; all workers of a test share it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.cancelled = threading.Event()
        self.runs = 0
        self.lock = threading.Lock()


def make_server(scene: Scene) -> Server:
    server = Server("tasks", "1")

    @server.tool(task=True)
    def quick(text: str = "done") -> str:
        return text

    @server.tool(task=True)
    def slow(ctx: Context) -> str:
        scene.begun.set()
        while not scene.go.wait(0.01):
            if ctx.cancelled:
                scene.cancelled.set()
                return "cancelled"
        return "slow"

    @server.tool(task="required")
    def fails() -> str:
        raise ToolError("it failed")

    @server.tool(task=True)
    def breaks() -> str:
        raise RPCError("it broke", code=1234, data={"why": "?"})

    @server.tool(task=True)
    def asks(ctx: Context) -> str:
        with scene.lock:
            scene.runs += 1
        number = ctx.once("run", lambda: scene.runs)
        first = ctx.ask({"a": question("A?"), "b": question("B?")})
        again = ctx.elicit("Sure?")
        return f"{sorted(first)} {again.action} {number}"

    @server.tool(task=True)
    def fills(ctx: Context) -> str:
        number = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
        form = {"method": "elicitation/create", "params": {"message": "n?", "requestedSchema": number}}
        found = ctx.ask({"a": form, "b": form})
        return f"{found['a'].content} {found['b'].content}"  # type: ignore[union-attr]

    @server.tool(task=True)
    def tells_meta(ctx: Context) -> Any:
        return dict(ctx.meta)

    @server.tool(task=True)
    def reports(ctx: Context) -> str:
        ctx.progress(3, 10)
        scene.begun.set()
        assert scene.go.wait(PATIENCE)
        return "reported"

    @server.tool()
    def escalates(ctx: Context) -> str:
        name = ctx.elicit("Your name?", key="name").action
        ctx.start_task()
        return f"{name} in {threading.current_thread().name.split('-')[1]}"

    @server.tool()
    def must_escalate(ctx: Context) -> str:
        ctx.start_task(required=True)
        return "escalated"

    return server


def question(message: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def workers(request: pytest.FixtureRequest, tmp_path: Path, scene: Scene) -> Iterator[Callable[..., ModernDirect]]:
    """Makes workers, each with a store object of its own, as if it were another process; in memory there is one."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    shared = MemoryStore()
    with ExitStack() as stack:

        def build(**options: Any) -> ModernDirect:
            store: Any = shared
            if request.param == "sqlite":
                store = SQLiteStore(tmp_path / "store.db")
            elif url:
                store = RedisStore(url, prefix=f"tasks:{tmp_path.name}")
            app = make_server(scene).wsgi(store=store, **options)
            stack.callback(store.close)
            stack.callback(app.close, 1.0)
            return ModernDirect(app, CLIENT)

        yield build
        scene.go.set()


@pytest.fixture
def direct(scene: Scene) -> Iterator[ModernDirect]:
    app = make_server(scene).wsgi()
    yield ModernDirect(app, CLIENT)
    scene.go.set()
    assert app.close()


def settled(direct: ModernDirect, task: str, *statuses: str) -> Any:
    """The task once it is in one of these states; else once it is over."""
    wanted = statuses or ("completed", "failed", "cancelled")
    ready = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        found = direct.result("tasks/get", {"taskId": task})
        if found.get("status") in wanted:
            return found
        ready.wait(0.02)
    raise AssertionError(found)


def begin(direct: ModernDirect, name: str, **arguments: Any) -> str:
    created = direct.call(name, arguments)
    assert created["resultType"] == "task", created
    return str(created["taskId"])


def test_life_of_a_task(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17: a handle at once, and the result from any worker, as the call itself would have given it."""
    here, there = workers(), workers()
    created = here.call("slow")
    task = created.pop("taskId")
    assert re.fullmatch("t[0-9a-f]{32}", task)
    assert (created.pop("resultType"), created["status"], created["ttlMs"]) == ("task", "working", 900_000)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created["createdAt"])
    assert created["createdAt"] == created["lastUpdatedAt"]
    assert set(created) == {"status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs", "_meta"}
    assert there.result("tasks/get", {"taskId": task})["status"] == "working"
    scene.go.set()
    final = settled(there, task)
    assert (final["resultType"], final["status"]) == ("complete", "completed")
    assert final["result"]["content"] == [{"type": "text", "text": "slow"}]
    assert final["result"]["resultType"] == "complete"
    assert final["ttlMs"] >= 900_000
    assert here.result("tasks/get", {"taskId": task})["result"] == final["result"]


def test_failures(direct: ModernDirect) -> None:
    """T-08, T-17: a tool that failed is a task that completed; an error of the protocol is one that failed."""
    final = settled(direct, begin(direct, "fails"))
    assert (final["status"], final["result"]["isError"]) == ("completed", True)
    final = settled(direct, begin(direct, "breaks"))
    assert (final["status"], final["statusMessage"]) == ("failed", "it broke")
    assert final["error"] == {"code": 1234, "message": "it broke", "data": {"why": "?"}}
    assert "result" not in final
    final = settled(direct, begin(direct, "quick", nonsense=1))
    assert final["result"]["isError"]


def test_questions_of_a_task(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17, M26-02: answered bit by bit, at any worker; the handler runs once for each round."""
    here, there = workers(), workers()
    task = begin(here, "asks")
    asked = settled(there, task, "input_required")
    assert set(asked["inputRequests"]) == {"a", "b"} and "requestState" not in asked
    update = {"taskId": task, "inputResponses": {"a": {"action": "accept", "content": {}}, "z": {"ignored": True}}}
    acknowledged = there.result("tasks/update", update)
    assert {key for key in acknowledged if key != "_meta"} == {"resultType"}
    still = here.result("tasks/get", {"taskId": task})
    assert (still["status"], set(still["inputRequests"])) == ("input_required", {"b"})
    answer = {"action": "decline"}
    here.result("tasks/update", {"taskId": task, "inputResponses": {"b": answer, "a": answer}})
    asked = settled(here, task, "input_required", "completed")
    (key,) = asked["inputRequests"]
    assert key not in ("a", "b")
    there.result("tasks/update", {"taskId": task, "inputResponses": {key: {"action": "accept", "content": {}}}})
    assert settled(there, task)["result"]["content"][0]["text"] == "['a', 'b'] accept 1"
    assert scene.runs == 3


def test_answers_at_the_same_time(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17: two clients' threads that bring the last two answers begin one run, not two."""
    here, there = workers(), workers()
    for _ in range(5):
        scene.runs = 0
        task = begin(here, "asks")
        settled(here, task, "input_required")
        barrier = threading.Barrier(2)

        def bring(direct: ModernDirect, key: str, task: str = task, barrier: threading.Barrier = barrier) -> None:
            other = ModernDirect(direct.app, CLIENT)
            barrier.wait(PATIENCE)
            other.result("tasks/update", {"taskId": task, "inputResponses": {key: {"action": "accept"}}})

        threads = [threading.Thread(target=bring, args=given) for given in ((here, "a"), (there, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        asked = settled(here, task, "input_required")
        assert set(asked["inputRequests"]).isdisjoint("ab")
        assert scene.runs == 2
        here.result("tasks/cancel", {"taskId": task})


def test_answers_of_the_wrong_shape(direct: ModernDirect) -> None:
    """T-17: what is no answer is refused, and the question stays."""
    task = begin(direct, "asks")
    settled(direct, task, "input_required")
    for responses in (None, [], {"a": 7}, {"a": {"action": "perhaps"}}):
        error = direct.result("tasks/update", {"taskId": task, "inputResponses": responses})
        assert error["code"] == -32602, responses
    assert set(direct.result("tasks/get", {"taskId": task})["inputRequests"]) == {"a", "b"}


def test_answers_that_do_not_fit_the_form(direct: ModernDirect) -> None:
    """T-17, E-05: they are refused with the reason, since a task has no answer in which it could ask once more."""
    task = begin(direct, "fills")
    settled(direct, task, "input_required")
    for content, named in (({}, "'n'"), ({"n": "three"}, "expected integer"), ({"n": 0}, "at least 1")):
        answers = {"a": {"action": "accept", "content": {"n": 1}}, "b": {"action": "accept", "content": content}}
        error = direct.result("tasks/update", {"taskId": task, "inputResponses": answers})
        assert error["code"] == -32602 and "'b'" in error["message"] and named in error["message"]
        assert set(direct.result("tasks/get", {"taskId": task})["inputRequests"]) == {"a", "b"}
    answers["b"]["content"] = {"n": 3, "more": 4}
    direct.result("tasks/update", {"taskId": task, "inputResponses": answers})
    assert settled(direct, task)["result"]["content"][0]["text"] == "{'n': 1} {'n': 3}"


def test_answers_that_are_too_large(direct: ModernDirect) -> None:
    """T-17: the store keeps them all, so there is a bound."""
    task = begin(direct, "asks")
    settled(direct, task, "input_required")
    thought = {"action": "decline", "content": {"x": "y" * (MAX_KEPT * 2 // 3)}}
    assert "code" not in direct.result("tasks/update", {"taskId": task, "inputResponses": {"a": thought}})
    error = direct.result("tasks/update", {"taskId": task, "inputResponses": {"b": thought}})
    assert error["code"] == -32602 and str(MAX_KEPT) in error["message"]
    assert set(direct.result("tasks/get", {"taskId": task})["inputRequests"]) == {"b"}


def test_metadata_of_the_request(direct: ModernDirect) -> None:
    """T-17: a handler finds it in the context, whether it runs as a task or not."""
    given = meta(TASKS) | {"traceparent": "00-1-2-03", "example.com/tenant": "a"}
    task = direct.call("tells_meta", _meta=given)["taskId"]
    assert json.loads(settled(direct, task)["result"]["content"][0]["text"]) == given


def test_cancelled_while_it_works(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17, K-07: the handler hears of it, wherever it runs, and what it still returns changes nothing."""
    here, there = workers(), workers()
    task = begin(here, "slow")
    assert scene.begun.wait(PATIENCE)
    for _ in range(2):
        acknowledged = there.result("tasks/cancel", {"taskId": task})
        assert {key for key in acknowledged if key != "_meta"} == {"resultType"}
    assert there.result("tasks/get", {"taskId": task})["status"] == "cancelled"
    assert scene.cancelled.wait(PATIENCE)
    found = settled(here, task)
    assert found["status"] == "cancelled" and "result" not in found


def test_cancelled_while_it_asks(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17: answers that come after the end are ignored."""
    here, there = workers(), workers()
    task = begin(here, "asks")
    settled(here, task, "input_required")
    there.result("tasks/cancel", {"taskId": task})
    answers = {key: {"action": "accept"} for key in "ab"}
    assert "code" not in here.result("tasks/update", {"taskId": task, "inputResponses": answers})
    assert here.result("tasks/get", {"taskId": task})["status"] == "cancelled"
    assert scene.runs == 1


def test_cancelled_after_its_end(direct: ModernDirect) -> None:
    """T-17, K-03: "completed, failed, and cancelled are terminal"; also after questions."""
    task = begin(direct, "asks")
    asked = settled(direct, task, "input_required")
    while "inputRequests" in asked:
        answers = {key: {"action": "accept"} for key in asked["inputRequests"]}
        direct.result("tasks/update", {"taskId": task, "inputResponses": answers})
        asked = settled(direct, task, "completed", "input_required")
    direct.result("tasks/cancel", {"taskId": task})
    assert direct.result("tasks/get", {"taskId": task}) == asked


def test_progress_becomes_the_status_message(direct: ModernDirect, scene: Scene) -> None:
    """P-06, T-17: a task has no stream, so what it reports is what a poll says."""
    task = begin(direct, "reports")
    assert scene.begun.wait(PATIENCE)
    assert direct.result("tasks/get", {"taskId": task})["statusMessage"] == "3 of 10"
    scene.go.set()
    assert "statusMessage" not in settled(direct, task)


def test_clients_that_know_no_tasks(direct: ModernDirect) -> None:
    """V26-09, V26-13: they wait for the result; or are refused, where there is no other way."""
    plain = ModernDirect(direct.app, ALL)
    assert plain.call("quick")["content"][0]["text"] == "done"
    for name in ("fails", "must_escalate"):
        error = plain.call(name)
        assert (error["code"], error["data"]) == (-32021, REQUIRED)
        assert plain.status("tools/call", {"name": name}) == (400, -32021)
    task = begin(direct, "quick")
    for method in ("get", "update", "cancel"):
        params = {"taskId": task, "inputResponses": {}}
        error = plain.result(f"tasks/{method}", params)
        assert (error["code"], error["data"]) == (-32021, REQUIRED)
        assert plain.status(f"tasks/{method}", params) == (400, -32021)
    opted = plain.call("quick", _meta=meta(TASKS))
    assert opted["resultType"] == "task"


def test_session_era_has_none(direct: ModernDirect) -> None:
    """X16: a client with a session waits for the result, as for any tool."""
    session = Direct(direct.app).initialize()
    assert session.tool("quick") == {"content": [{"type": "text", "text": "done"}]}
    assert session.tool("must_escalate")["content"][0]["text"] == "escalated"
    assert session.answer("tasks/get", {"taskId": begin(direct, "quick")})["code"] == -32601


def test_asking_first(direct: ModernDirect) -> None:
    """T-17, M26-01: "resolve all MRTR exchanges synchronously before responding with a CreateTaskResult"."""
    asked = direct.call("escalates")
    assert asked["resultType"] == "input_required" and "taskId" not in asked
    answers = {"inputResponses": {"name": {"action": "decline"}}, "requestState": asked["requestState"]}
    created = direct.call("escalates", **answers)
    assert created["resultType"] == "task" and "requestState" not in created
    assert settled(direct, created["taskId"])["result"]["content"][0]["text"] == "decline in task"
    plain = ModernDirect(direct.app, ALL)
    assert plain.call("escalates", **answers)["content"][0]["text"] == "decline in handler"
    assert direct.call("must_escalate")["resultType"] == "task"


def test_tasks_of_others(scene: Scene) -> None:
    """T-17: a task is its caller's alone; to anybody else it does not exist."""
    app = make_server(scene).wsgi(principal=lambda environ: environ.get("HTTP_X_USER"))
    direct = ModernDirect(app, CLIENT)
    task = direct.result("tools/call", {"name": "quick"}, X_USER="ada")["taskId"]
    for user in ("bob", None):
        for method in ("get", "update", "cancel"):
            params = {"taskId": task, "inputResponses": {}}
            assert direct.result(f"tasks/{method}", params, X_USER=user)["code"] == -32602
    assert direct.result("tasks/get", {"taskId": task}, X_USER="ada")["taskId"] == task
    app.close()


@pytest.mark.parametrize("task", ["", "t" * 33, "x" * 5000, 7, None])
def test_unknown_tasks(direct: ModernDirect, task: Any) -> None:
    """T-17: "Invalid or nonexistent taskId: -32602"."""
    params = {"taskId": task, "inputResponses": {}}
    for method in ("get", "update", "cancel"):
        headers = {"MCP_NAME": task if isinstance(task, str) else None}
        assert direct.result(f"tasks/{method}", params, **headers)["code"] == -32602


def test_name_of_another_task(direct: ModernDirect) -> None:
    """H26-10: ``Mcp-Name`` must be the id in the body."""
    task = begin(direct, "quick")
    assert direct.status("tasks/get", {"taskId": task}, MCP_NAME="t0") == (400, -32020)


def test_tasks_are_no_sessions(direct: ModernDirect) -> None:
    """H25-19: nobody can open the store's other contents with an id; nor take a session for a task."""
    session = Direct(direct.app).initialize()
    other = Direct(direct.app)
    other.session = begin(direct, "quick")
    with other.request("ping") as reply:
        assert reply.status == 404
    assert direct.result("tasks/get", {"taskId": session.session})["code"] == -32602


def test_expired_task(scene: Scene) -> None:
    """T-17: after its time a task is not known any more; one that works stays."""
    app = make_server(scene).wsgi(task_ttl=0.001)
    direct = ModernDirect(app, CLIENT)
    task = direct.call("slow")["taskId"]
    assert scene.begun.wait(PATIENCE)
    assert direct.result("tasks/get", {"taskId": task})["status"] == "working"
    scene.go.set()
    while (found := direct.result("tasks/get", {"taskId": task})).get("status") is not None:
        assert found["status"] in ("working", "completed")
    assert found["code"] == -32602
    assert list(app.store.iter_sessions()) == []
    app.close()


def test_ttl_is_what_the_store_keeps(scene: Scene) -> None:
    """T-17: a server promises no longer life than its store gives."""
    app = make_server(scene).wsgi(session_ttl=30)
    assert ModernDirect(app, CLIENT).call("quick")["ttlMs"] == 30_000
    app.close()


def test_nobody_asks_for_long(scene: Scene) -> None:
    """T-17: a task that runs for longer than the store keeps unused sessions is there when somebody asks again."""
    now = 1000.0
    store = MemoryStore(session_ttl=60, clock=lambda: now)
    app = make_server(scene).wsgi(store=store)
    direct = ModernDirect(app, CLIENT)
    task = direct.call("slow")["taskId"]
    assert scene.begun.wait(PATIENCE)
    now += 100
    assert direct.result("tasks/get", {"taskId": task})["status"] == "working"
    now += 100
    direct.call("quick")  # the store drops what has expired when it is used
    scene.go.set()
    assert app.close(PATIENCE)
    assert store.get_session(task)["final"]["status"] == "completed"  # type: ignore[index]


def test_stopping_server(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17: what has not ended when a worker stops has failed, and another one says so."""
    here, there = workers(), workers()
    task = begin(here, "reports")
    assert scene.begun.wait(PATIENCE)
    app = here.app
    assert not _close(app)
    final = settled(there, task)
    assert (final["status"], final["error"]["code"]) == ("failed", -32603)


def _close(app: Any) -> bool:
    # The checker of the standard library stands between.
    inner: WSGIApp = app.__closure__[0].cell_contents
    return inner.close(0.05)


def test_process_that_died(tmp_path: Path, scene: Scene) -> None:
    """T-17: a run whose process is gone has failed; a task that waits for answers goes on elsewhere."""
    stores = [SQLiteStore(tmp_path / "store.db", worker_timeout=0.5) for _ in range(2)]
    apps = [make_server(scene).wsgi(store=store) for store in stores]
    here, there = (ModernDirect(app, CLIENT) for app in apps)
    waiting, lost = begin(here, "asks"), begin(here, "slow")
    settled(here, waiting, "input_required")
    assert scene.begun.wait(PATIENCE)
    stores[0].close()  # from here on its process gives no sign of life
    final = settled(there, lost)
    assert (final["status"], final["error"]["message"]) == ("failed", "the process that ran this task has died")
    answers = {key: {"action": "accept"} for key in "ab"}
    there.result("tasks/update", {"taskId": waiting, "inputResponses": answers})
    asked = settled(there, waiting, "input_required")
    assert set(asked["inputRequests"]).isdisjoint("ab")
    scene.go.set()
    for app, store in zip(apps, stores, strict=True):
        app.close()
        store.close()


def test_busy_server(scene: Scene) -> None:
    """T-17: a task that finds no thread has failed, and says why."""
    app = make_server(scene).wsgi(max_threads=0)
    direct = ModernDirect(app, CLIENT)
    final = settled(direct, begin(direct, "quick"))
    assert (final["status"], final["statusMessage"]) == ("failed", "the server is busy")
    app.close()


def test_tasks_keep_nobody_waiting(scene: Scene) -> None:
    """T-17: calls have their threads, however many tasks there are."""
    app = make_server(scene).wsgi(max_threads=1)
    direct = ModernDirect(app, CLIENT)
    tasks = [begin(direct, "slow") for _ in range(2)]
    assert ModernDirect(app, ALL).call("quick")["content"][0]["text"] == "done"
    scene.go.set()
    assert [settled(direct, task)["status"] for task in tasks] == ["completed"] * 2
    app.close()


def test_store_that_is_full_or_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, so that the client comes again; and a poll that fails is no lost task."""
    app = make_server(scene).wsgi(store=MemoryStore(max_sessions=1))
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "quick")
    with direct.ask("tools/call", {"name": "quick"}) as reply:
        assert reply.status == 503
    settled(direct, task)

    def away(session: str) -> Any:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(app.store, "get_session", away)
        with direct.ask("tasks/get", {"taskId": task}) as reply:
            assert reply.status == 503
    assert settled(direct, task)["status"] == "completed"
    app.close()


def test_store_that_fails_between_answers_and_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """T-17: the client tries again, and the task goes on although nothing is new."""
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "asks")
    settled(direct, task, "input_required")
    update = {"taskId": task, "inputResponses": {key: {"action": "accept"} for key in "ab"}}

    def away(*given: Any, **named: Any) -> Any:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(app.store, "append", away)
        with direct.ask("tasks/update", update) as reply:
            assert reply.status == 503
        assert direct.result("tasks/get", {"taskId": task})["status"] == "working"
    direct.result("tasks/update", update)
    asked = settled(direct, task, "input_required")
    assert set(asked["inputRequests"]).isdisjoint("ab")
    app.close()


@pytest.mark.parametrize("part", ["create_log", "update_session"])
def test_store_that_fails_at_one_step(scene: Scene, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """T-17: what follows the answers, and the end of a run, happen as soon as the store is back."""
    monkeypatch.setattr(delivery, "_INTERVAL", 0.01)
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "asks")
    settled(direct, task, "input_required")
    work, failures = getattr(app.store, part), [1, 2]

    def fail_twice(session: str, what: Any, **options: Any) -> Any:
        if (what == "run2" or "settled" in what) and failures and failures.pop():
            raise StoreUnavailable("the store is away")
        return work(session, what, **options)

    monkeypatch.setattr(app.store, part, fail_twice)
    update = {"taskId": task, "inputResponses": {key: {"action": "accept"} for key in "ab"}}
    assert "code" not in direct.result("tasks/update", update)
    settled(direct, task, "input_required")
    deadline = time.monotonic() + PATIENCE
    while (app.store.get_session(task) or {})["settled"] != 2:
        assert time.monotonic() < deadline
    assert not failures
    app.close()


def test_store_that_decides_and_does_not_say_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """T-17: a store whose answer is lost may have done what it was asked, and the task goes on all the same, once."""
    monkeypatch.setattr(delivery, "_INTERVAL", 0.01)
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "asks")
    settled(direct, task, "input_required")
    work, lost = app.store.append, [True]

    def lose_once(session: str, log: str, *given: Any, **options: Any) -> int:
        number = work(session, log, *given, **options)
        if log == "go1" and lost and lost.pop():
            raise StoreUnavailable("the store does not answer")
        return number

    monkeypatch.setattr(app.store, "append", lose_once)
    update = {"taskId": task, "inputResponses": {key: {"action": "accept"} for key in "ab"}}
    direct.result("tasks/update", update)
    direct.result("tasks/update", update)  # a client that heard of a failure, or not, says it again
    settled(direct, task, "input_required")
    assert not lost and (app.store.get_session(task) or {})["run"] == 2
    app.close()


def test_process_that_died_between_two_writes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """T-17: the end of a run stands in its log only, which is gone before the task; whoever asks writes it down."""
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    assert app._modern is not None
    tasks = app._modern._runs.tasks
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_settle", lambda *given: None)
        task = begin(direct, "quick")
        assert settled(direct, task)["status"] == "completed"
    assert "final" not in app.store.get_session(task)  # type: ignore[operator]
    monkeypatch.setattr(tasks, "_clock", lambda: time.time() + 11)
    before = direct.result("tasks/get", {"taskId": task})
    app.store.delete_log(task, "run1")
    assert direct.result("tasks/get", {"taskId": task}) == before
    app.close()


def test_store_that_is_full_for_the_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """T-17: a client that is told that there is no task leaves none behind."""
    app = make_server(scene).wsgi()
    monkeypatch.setattr(app.store, "create_log", lambda *given, **named: (_ for _ in ()).throw(StoreFull("full")))
    with ModernDirect(app, CLIENT).ask("tools/call", {"name": "quick"}) as reply:
        assert reply.status == 503
    assert list(app.store.iter_sessions()) == []
    app.close()


def test_task_whose_run_is_lost(scene: Scene) -> None:
    """T-17: where the store does not hold the run any more, the task has failed."""
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "slow")
    assert scene.begun.wait(PATIENCE)
    app.store.delete_log(task, "run1")
    assert direct.result("tasks/get", {"taskId": task})["status"] == "failed"
    assert scene.cancelled.wait(PATIENCE), "nobody needs the result, and the handler knows"
    app.close()


def test_listening_for_a_task(workers: Callable[..., ModernDirect], scene: Scene) -> None:
    """T-17, S26-08: each change comes with the whole task, and the first message says how it is now."""
    here, there = workers(), workers()
    task = begin(here, "slow")
    assert scene.begun.wait(PATIENCE)
    params = {"notifications": {"taskIds": [task, "t" * 33]}}
    with there.ask("subscriptions/listen", params) as reply:
        found = (json.loads(line[6:]) for chunk in reply.chunks for line in chunk.splitlines() if line[:1] == b"d")
        assert next(found)["params"]["notifications"] == {"taskIds": [task]}
        now = next(found)
        assert (now["method"], now["params"]["status"]) == ("notifications/tasks", "working")
        scene.go.set()
        final = next(found)["params"]
    assert (final["taskId"], final["status"]) == (task, "completed")
    assert final["result"]["content"][0]["text"] == "slow"
    assert f"{PREFIX}subscriptionId" in final["_meta"]


def _listeners(app: Any, task: str) -> int:
    return sum(key.startswith("told:") for key in app.store.get_session(task))


def test_listening_again_and_again(scene: Scene) -> None:
    """T-17, S26-08: a subscription that has ended leaves nothing with the task, nor does one whose process has died."""
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "slow")
    params = {"notifications": {"taskIds": [task]}}
    for _ in range(3):
        with direct.ask("subscriptions/listen", params) as reply:
            assert next(reply.chunks)
            assert _listeners(app, task) == 1
        assert _listeners(app, task) == 0
    app.store.update_session(task, {f"told:lost{number}": number for number in range(20)})
    with direct.ask("subscriptions/listen", params) as reply:
        assert task.encode() in next(reply.chunks)
        assert _listeners(app, task) == 1
    scene.go.set()
    app.close()


def test_too_many_listen_to_one_task(scene: Scene) -> None:
    """S26-02: one more is told that it will not hear of it, and can ask."""
    app = make_server(scene).wsgi()
    direct = ModernDirect(app, CLIENT)
    task = begin(direct, "slow")
    with ExitStack() as stack:
        honoured = []
        for _ in range(18):
            reply = stack.enter_context(direct.ask("subscriptions/listen", {"notifications": {"taskIds": [task]}}))
            first = next(line for line in next(reply.chunks).splitlines() if line[:1] == b"d")
            honoured.append(json.loads(first[6:])["params"]["notifications"])
        assert honoured == [{"taskIds": [task]}] * 16 + [{}] * 2
    scene.go.set()
    app.close()


def test_advertised(direct: ModernDirect) -> None:
    """V26-09: in the capabilities of this era, and not in those of the other."""
    capabilities = direct.result("server/discover")["capabilities"]
    assert capabilities["extensions"] == {f"{PREFIX}tasks": {}} and "tasks" not in capabilities
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    assert "extensions" not in Direct(direct.app).answer("initialize", params)["capabilities"]
