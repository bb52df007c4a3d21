"""Questions to the client in the stateless era: multi round-trip requests."""

from __future__ import annotations

import base64
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import LocalProtocolError, RPCError
from streamhttp_client.server import Context, Server, SQLiteStore
from streamhttp_client.server.inputs import MAX_KEPT, Sealer
from tests.server.modern_kit import ALL, ModernDirect

NAME = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 20}},
    "required": ["name"],
}
SECRET = "0123456789abcdef"


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


class Scene:
    """A server whose handlers note when they run, and two endpoints of it, as two processes would have them."""

    def __init__(self) -> None:
        self.server = Server("rounds", "1")
        self.notes: list[str] = []
        self.apps = [self.server.wsgi(state_secret=SECRET) for _ in range(2)]
        self.first, self.second = (ModernDirect(app, ALL) for app in self.apps)

    def retry(self, direct: ModernDirect, name: str, result: Any, *answers: Any, **more: Any) -> Any:
        """The next round of a call: each question gets the answer at its place."""
        responses = dict(zip(result["inputRequests"], answers, strict=True))
        return direct.call(name, **{"inputResponses": responses, "requestState": result["requestState"]} | more)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    for app in scene.apps:
        assert app.close()


def text(result: Any) -> str:
    assert result["resultType"] == "complete", result
    return str(result["content"][0]["text"])


def test_one_question(scene: Scene) -> None:
    """M26-02, M26-10: the handler is run again with the answer, in whichever process the retry arrives."""

    @scene.server.tool()
    def greet(ctx: Context) -> str:
        scene.notes.append("begun")
        name = (ctx.elicit("Your name?", NAME).content or {})["name"]
        scene.notes.append("done")
        return f"Hello, {name}"

    asked = scene.first.call("greet")
    assert asked["resultType"] == "input_required"
    ((key, question),) = asked["inputRequests"].items()
    assert question == {
        "method": "elicitation/create",
        "params": {"message": "Your name?", "requestedSchema": NAME},
    }
    assert key.startswith("elicitation-")
    assert text(scene.retry(scene.second, "greet", asked, accept(name="Ada"))) == "Hello, Ada"
    assert scene.notes == ["begun", "begun", "done"]


def test_several_rounds(scene: Scene) -> None:
    """M26-04, M26-08: what was answered before travels in the state, so a round brings only what is new."""

    @scene.server.tool()
    def plan(ctx: Context) -> str:
        name = (ctx.elicit("Your name?", NAME).content or {})["name"]
        thought = ctx.ask_sampling(f"Think of {name}", max_tokens=10).text
        return f"{name}: {thought} in {ctx.roots()[0].uri}"

    first = scene.first.call("plan")
    second = scene.retry(scene.second, "plan", first, accept(name="Ada"))
    ((key, question),) = second["inputRequests"].items()
    assert question["method"] == "sampling/createMessage" and "Ada" in str(question["params"])
    assert second["requestState"] != first["requestState"]
    thought = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "fine"}}
    third = scene.retry(scene.first, "plan", second, thought)
    assert next(iter(third["inputRequests"].values())) == {"method": "roots/list", "params": {}}
    final = scene.retry(scene.second, "plan", third, {"roots": [{"uri": "file:///a"}]})
    assert text(final) == "Ada: fine in file:///a"


def test_several_questions_at_once(scene: Scene) -> None:
    """M26-02: all go out in one round; those without an answer are asked again, and extra answers are ignored."""

    @scene.server.tool()
    def both(ctx: Context) -> str:
        answers = ctx.ask(
            {
                "a": {"method": "elicitation/create", "params": {"message": "A?", "requestedSchema": NAME}},
                "b": {"method": "roots/list"},
            }
        )
        return f"{answers['a'].content} {len(answers['b'].roots)}"  # type: ignore[union-attr]

    asked = scene.first.call("both")
    assert list(asked["inputRequests"]) == ["a", "b"]
    more = {"inputResponses": {"b": {"roots": []}, "c": accept()}, "requestState": asked["requestState"]}
    again = scene.first.call("both", **more)
    assert list(again["inputRequests"]) == ["a"]
    assert text(scene.retry(scene.second, "both", again, accept(name="x"))) == "{'name': 'x'} 0"


def test_answers_without_being_asked(scene: Scene) -> None:
    """M26-05: a client that knows the key may answer at once; there is no state then."""

    @scene.server.tool()
    def greet(ctx: Context) -> str:
        return str((ctx.elicit("Your name?", NAME, key="name").content or {})["name"])

    assert text(scene.first.call("greet", inputResponses={"name": accept(name="Ada"), "other": {}})) == "Ada"
    assert list(scene.first.call("greet", inputResponses={"other": accept()})["inputRequests"]) == ["name"]


def test_the_same_question_twice(scene: Scene) -> None:
    """M26-02: "keys … MUST be unique within the scope of the request"; each time is a question of its own."""

    @scene.server.tool()
    def twice(ctx: Context) -> str:
        return " ".join(str((ctx.elicit("Word?", NAME).content or {})["name"]) for _ in range(2))

    first = scene.first.call("twice")
    second = scene.retry(scene.first, "twice", first, accept(name="a"))
    assert set(first["inputRequests"]).isdisjoint(second["inputRequests"])
    assert text(scene.retry(scene.first, "twice", second, accept(name="b"))) == "a b"


def test_a_question_that_changes(scene: Scene) -> None:
    """M26-04: an answer never meets another question than the one that the user saw."""
    things = ["one", "two"]

    @scene.server.tool()
    def delete(ctx: Context) -> str:
        thing = things[0]
        return f"{ctx.elicit(f'Delete {thing}?').action} {thing}"

    asked = scene.first.call("delete")
    things.pop(0)
    again = scene.retry(scene.first, "delete", asked, accept())
    assert "two" in str(again["inputRequests"])
    assert text(scene.retry(scene.first, "delete", again, accept())) == "accept two"


def test_one_key_for_two_questions(scene: Scene) -> None:
    """M26-02: a mistake of the handler, which is a failed tool and not a wrong answer."""

    @scene.server.tool()
    def confused(ctx: Context) -> str:
        ctx.elicit("A?", key="x")
        return ctx.elicit("B?", key="x").action

    result = scene.first.call("confused", inputResponses={"x": accept()})
    assert result["isError"]


def test_once(scene: Scene) -> None:
    """M26-04: what must happen only once does, and what it gave comes back in each round."""

    @scene.server.tool()
    def order(ctx: Context) -> str:
        number = ctx.once("number", lambda: scene.notes.append("reserved") or {"n": len(scene.notes)})
        ctx.elicit("Really?")
        ctx.elicit("Really, really?")
        return str(number)

    first = scene.first.call("order")
    second = scene.retry(scene.second, "order", first, accept())
    assert text(scene.retry(scene.first, "order", second, accept())) == "{'n': 1}"
    assert scene.notes == ["reserved"]


def test_prompts_and_resources(scene: Scene) -> None:
    """M26-01: prompts and resources can ask, too; what depends on answers may not be kept (C26-02)."""

    @scene.server.prompt()
    def intro(ctx: Context) -> str:
        return f"I am {(ctx.elicit('Your name?', NAME, key='k').content or {})['name']}"

    @scene.server.resource("x://me", ttl=60)
    def me(ctx: Context) -> str:
        return str((ctx.elicit("Your name?", NAME, key="k").content or {})["name"])

    answers = {"inputResponses": {"k": accept(name="Ada")}}
    for method, params in (("prompts/get", {"name": "intro"}), ("resources/read", {"uri": "x://me"})):
        asked = scene.first.result(method, params)
        assert asked["resultType"] == "input_required"
        assert "ttlMs" not in asked
        final = scene.second.result(method, params | answers | {"requestState": asked["requestState"]})
        assert "Ada" in str(final)
    assert (final["ttlMs"], final["cacheScope"]) == (0, "private")


def test_swallowed_signal(scene: Scene) -> None:
    """M26-01: a handler that catches everything does not turn the question into its result."""

    @scene.server.tool()
    def stubborn(ctx: Context) -> str:
        try:
            return ctx.elicit("Well?").action
        except Exception:
            scene.notes.append("caught")
            return "caught"
        except BaseException:
            scene.notes.append("caught all")
            return "caught all"

    asked = scene.first.call("stubborn")
    assert asked["resultType"] == "input_required"
    assert text(scene.retry(scene.first, "stubborn", asked, accept())) == "accept"
    assert scene.notes == ["caught all"]


def test_url_and_declined(scene: Scene) -> None:
    """X15, M26-09: a visit has no id here; a user who declines is an answer like any other."""

    @scene.server.tool()
    def visit(ctx: Context) -> str:
        return ctx.elicit_url("Please log in", "https://example.com/login").action

    asked = scene.first.call("visit")
    (question,) = asked["inputRequests"].values()
    assert question["params"] == {"mode": "url", "message": "Please log in", "url": "https://example.com/login"}
    assert text(scene.retry(scene.first, "visit", asked, {"action": "decline"})) == "decline"


def test_what_can_be_asked(scene: Scene) -> None:
    """M26-01, E-01: only what the protocol knows and the client declared, with the modes and parts of it."""
    question = {"method": "elicitation/create", "params": {"message": "Well?", "requestedSchema": NAME}}

    @scene.server.tool()
    def odd(ctx: Context) -> str:
        return str(ctx.ask({"x": {"method": "tools/list"}}))

    @scene.server.tool()
    def by_url(ctx: Context) -> str:
        return str(ctx.ask({"x": {"method": "elicitation/create", "params": {"mode": "url", "url": "https://a"}}}))

    @scene.server.tool()
    def by_form(ctx: Context) -> str:
        return str(ctx.ask({"x": question}))

    @scene.server.tool()
    def with_tools(ctx: Context) -> str:
        return ctx.ask_sampling("Well?", max_tokens=5, tools=[]).text

    assert scene.first.call("odd")["isError"]
    for capabilities, tool, required in (
        ({"elicitation": {}}, "by_url", {"elicitation": {"url": {}}}),
        ({"elicitation": {"form": {}}}, "by_url", {"elicitation": {"url": {}}}),
        ({"elicitation": {"url": {}}}, "by_form", {"elicitation": {"form": {}}}),
        ({"sampling": {}}, "by_form", {"elicitation": {}}),
        ({"sampling": {}}, "with_tools", {"sampling": {"tools": {}}}),
    ):
        scene.first.capabilities = capabilities
        assert scene.first.call(tool)["data"] == {"requiredCapabilities": required}
    scene.first.capabilities = {"sampling": {"tools": {}}}
    assert "inputRequests" in scene.first.call("with_tools")


@pytest.fixture
def asking(scene: Scene) -> Scene:
    @scene.server.tool()
    def greet(ctx: Context, greeting: str = "Hello") -> str:
        return f"{greeting}, {(ctx.elicit('Your name?', NAME, key='name').content or {})['name']}"

    @scene.server.tool()
    def other(ctx: Context) -> str:
        return ctx.elicit("Your name?", NAME, key="name").action

    return scene


@pytest.mark.parametrize("answer", [7, None, [], "accept", {"content": {}}, {"action": "maybe"}])
def test_answers_of_the_wrong_shape(asking: Scene, answer: Any) -> None:
    """M26-02: what is no answer at all is an error of the protocol."""
    assert asking.first.call("greet", inputResponses={"name": answer})["code"] == -32602


@pytest.mark.parametrize("responses", [None, [], "x", 1])
def test_responses_of_the_wrong_shape(asking: Scene, responses: Any) -> None:
    """M26-02: and so is what is no object of answers."""
    assert asking.first.call("greet", inputResponses=responses)["code"] == -32602


@pytest.mark.parametrize("content", [{}, {"name": 7}, {"name": ""}, {"name": "x" * 21}])
def test_data_that_the_form_does_not_allow(asking: Scene, content: Any) -> None:
    """E-05: "Servers SHOULD validate received data matches the requested schema": it is asked once more."""
    asked = asking.first.call("greet", inputResponses={"name": accept(**content)})
    assert list(asked["inputRequests"]) == ["name"]


def test_fields_that_the_form_does_not_have(scene: Scene) -> None:
    """E-05: nobody asked for them, so they reach no handler; and they are no reason to ask once more."""

    @scene.server.tool()
    def show(ctx: Context) -> str:
        first = ctx.elicit("Your name?", NAME, key="name").content
        ctx.elicit("Sure?", key="sure")
        return str(first)

    asked = scene.first.call("show", inputResponses={"name": accept(name="Ada", zzz={"deep": [1]})})
    assert list(asked["inputRequests"]) == ["sure"]
    assert text(scene.retry(scene.second, "show", asked, accept())) == "{'name': 'Ada'}"


def test_tampered_states(asking: Scene) -> None:
    """M26-04: a state that was changed in any way is refused."""
    good = asking.first.call("greet")["requestState"]
    raw = bytearray(base64.urlsafe_b64decode(good))
    raw[-1] ^= 1
    bad = [good + "x", good[:-4], good[1:], "", "x", "ü", 7, None, {}, base64.urlsafe_b64encode(bytes(raw)).decode()]
    for state in [*bad, "A" * 44, good.replace("=", "") + "=" * 4]:
        answers = {"inputResponses": {"name": accept(name="Ada")}, "requestState": state}
        assert asking.first.call("greet", **answers)["code"] == -32602, state
    answers = {"inputResponses": {"name": accept(name="Ada")}, "requestState": good}
    assert text(asking.first.call("greet", **answers)) == "Hello, Ada"


def test_state_of_another_request(asking: Scene) -> None:
    """M26-07: bound to method and parameters, so it helps nowhere else."""
    state = asking.first.call("greet")["requestState"]
    answers = {"inputResponses": {"name": accept(name="Ada")}, "requestState": state}
    assert asking.first.call("other", **answers)["code"] == -32602
    assert asking.first.call("greet", {"greeting": "Bye"}, **answers)["code"] == -32602
    assert text(asking.first.call("greet", {}, **answers)) == "Hello, Ada"


def test_state_of_another_caller(asking: Scene) -> None:
    """M26-04: "rejecting state presented by a different principal"."""
    app = asking.server.wsgi(state_secret=SECRET, principal=lambda environ: environ.get("HTTP_X_USER"))
    direct = ModernDirect(app, ALL)
    params = {"name": "greet", "arguments": {}}
    state = direct.result("tools/call", params, X_USER="ada")["requestState"]
    params |= {"inputResponses": {"name": accept(name="Ada")}, "requestState": state}
    assert direct.result("tools/call", params, X_USER="bob")["code"] == -32602
    assert direct.result("tools/call", params)["code"] == -32602
    assert text(direct.result("tools/call", params, X_USER="ada")) == "Hello, Ada"
    app.close()


def test_state_of_another_server(asking: Scene) -> None:
    """M26-04: without a common secret each process has its own."""
    app = asking.server.wsgi()
    other = ModernDirect(app, ALL)
    state = asking.first.call("greet")["requestState"]
    answers = {"inputResponses": {"name": accept(name="Ada")}, "requestState": state}
    assert other.call("greet", **answers)["code"] == -32602
    app.close()


def test_secret_of_the_store(asking: Scene, tmp_path: Path) -> None:
    """M26-04: processes that share a store share its secret, so a round may end where it did not begin."""
    stores = [SQLiteStore(tmp_path / "store.db") for _ in range(2)]
    apps = [asking.server.wsgi(store=store) for store in stores]
    first, second = (ModernDirect(app, ALL) for app in apps)
    answers = {"inputResponses": {"name": accept(name="Ada")}, "requestState": first.call("greet")["requestState"]}
    assert text(second.call("greet", **answers)) == "Hello, Ada"
    assert asking.first.call("greet", **answers)["code"] == -32602
    stores[1].close()
    with second.ask("tools/call", {"name": "greet", "arguments": {}, **answers}) as reply:
        assert reply.status == 503 and "retry-after" in reply.headers
    for app in apps:
        app.close()
    stores[0].close()


def test_state_of_another_endpoint(asking: Scene) -> None:
    """M26-04: one secret may serve several endpoints; what one of them asked is nothing to the others."""
    state = asking.first.call("greet")["requestState"]
    answers = {"inputResponses": {"name": accept(name="Ada")}, "requestState": state}
    namesake = Server("another", "1")

    @namesake.tool()
    def greet(ctx: Context) -> str:
        return ctx.elicit("Your name?", NAME, key="name").action

    for app in (namesake.wsgi(state_secret=SECRET), asking.server.wsgi(state_secret=SECRET, path=None)):
        assert ModernDirect(app, ALL).call("greet", **answers)["code"] == -32602
        app.close()
    assert text(asking.second.call("greet", **answers)) == "Hello, Ada"


def test_answers_that_pack_well(scene: Scene) -> None:
    """M26-04: what a client sends is kept for as long as its size allows, however small it becomes in a state."""

    @scene.server.tool()
    def insist(ctx: Context) -> str:
        number = 0
        while not (ctx.elicit(f"Try {number}", {"type": "object"}).content or {}).get("ok"):
            number += 1
        return "at last"

    asked = scene.first.call("insist")
    for _ in range(2):
        asked = scene.retry(scene.first, "insist", asked, accept(a="a" * (MAX_KEPT * 2 // 5)))
        assert len(asked["requestState"]) < 10_000
    error = scene.retry(scene.first, "insist", asked, accept(a="a" * (MAX_KEPT * 2 // 5)))
    assert error["code"] == -32602 and str(MAX_KEPT) in error["message"]
    assert text(scene.retry(scene.first, "insist", asked, accept(ok=True, a="a" * MAX_KEPT))) == "at last"


def test_handler_that_keeps_too_much(scene: Scene) -> None:
    """M26-04: that is no fault of the client."""

    @scene.server.tool()
    def hoard(ctx: Context) -> str:
        ctx.once("all", lambda: "x" * MAX_KEPT)
        return ctx.elicit("Well?").action

    assert scene.first.call("hoard")["code"] == -32603


def test_large_states() -> None:
    """M26-04: all that may be kept comes back, however badly it packs; and no more than that is unpacked."""
    sealer = Sealer(b"s" * 16, ttl=60)
    content = {"answers": {}, "kept": {"all": random.Random(1).randbytes(MAX_KEPT // 2 - 50).hex()}}
    assert sealer.open(b"b", sealer.seal(b"b", content)) == content
    data = json.dumps({"answers": {}, "kept": {"all": "x" * 50 * MAX_KEPT}}).encode()
    payload = (1 << 40).to_bytes(8, "big") + zlib.compress(data)
    bomb = base64.urlsafe_b64encode(sealer._sign(b"b", payload) + payload).decode()
    tracemalloc.start()
    try:
        with pytest.raises(RPCError, match="too large"):
            sealer.open(b"b", bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_KEPT
    finally:
        tracemalloc.stop()


def test_state_is_ignored_elsewhere(asking: Scene) -> None:
    """M26-01: methods that never ask do not look at it."""
    assert "tools" in asking.first.result("tools/list", {"requestState": "nonsense", "inputResponses": 1})


def test_expiry_and_secrets() -> None:
    """M26-04: "a short expiry (TTL), rejecting state presented after it lapses"."""
    now = [1000.0]
    sealer = Sealer(b"s" * 16, ttl=60, clock=lambda: now[0])
    state = sealer.seal(b"b", {"answers": {}, "kept": {}})
    now[0] += 59
    assert sealer.open(b"b", state) == {"answers": {}, "kept": {}}
    now[0] += 2
    with pytest.raises(RPCError, match="expired"):
        sealer.open(b"b", state)
    with pytest.raises(RPCError, match="not one"):
        Sealer(b"t" * 16, ttl=60, clock=lambda: now[0]).open(b"b", state)
    with pytest.raises(LocalProtocolError, match="between its rounds"):
        sealer.seal(b"b", {"answers": {}, "kept": {str(number): str(number) * 9 for number in range(300_000)}})
    with pytest.raises(LocalProtocolError, match="16 bytes"):
        Server("short", "1").wsgi(state_secret="short")


def test_rounds_over_json(scene: Scene) -> None:
    """M26-01: what is one JSON object can ask as well, unlike in the session era."""

    @scene.server.tool()
    def greet(ctx: Context) -> str:
        ctx.progress(1)
        return str((ctx.elicit("Your name?", NAME).content or {})["name"])

    app = scene.server.wsgi(json_response=True, stateless=True, state_secret=SECRET)
    direct = ModernDirect(app, ALL)
    asked = direct.call("greet")
    assert text(scene.retry(direct, "greet", asked, accept(name="Ada"))) == "Ada"
    with direct.ask("tools/call", {"name": "greet"}, ACCEPT="application/json") as reply:
        assert reply.headers["content-type"] == "application/json"
    app.close()
