"""Rows of what else came with one revision or another."""

from __future__ import annotations

import pytest

from streamhttp_client import AuthenticationError, ConnectionLost, InvalidParams, ResourceNotFound, ToolResult
from streamhttp_client.protocol.models.content import (
    AudioContent,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)
from streamhttp_client.protocol.models.notifications import ResourceUpdated
from tests.support.rawserver import Peer, Request
from tests.support_table.table import proves
from tests.support_table.worlds import OK, PREFIX, LegacyWorld, ModernWorld, SessionWorld, World, meta_of, note

HANDSHAKES = "2024-11-05 2025-03-26 2025-06-18 2025-11-25"
UPDATED = "notifications/resources/updated"

# --- subscribing to a resource


@proves("subscribing to a resource", HANDSHAKES, "yes")
def subscribing(world: World) -> None:
    world.declare(resources={"subscribe": True})
    world.on("resources/subscribe", {})
    world.on("resources/unsubscribe", {})
    if isinstance(world, SessionWorld):
        world.on("GET", world.says_and_stops(note(UPDATED, {"uri": "a:1"})))
    with world.client() as client:
        client.subscribe_resource("a:1")
        with client.listen() as events:
            if isinstance(world, LegacyWorld):
                world.server.say(note(UPDATED, {"uri": "a:1"}))
            heard = next(events)
            assert isinstance(heard, ResourceUpdated) and heard.uri == "a:1"
        client.unsubscribe_resource("a:1")
    asked = [request for request in world.server.requests if request.key.startswith("resources/")]
    assert [request.json["params"] for request in asked] == [{"uri": "a:1"}] * 2


@proves("subscribing to a resource", "2026-07-28", "in `subscriptions/listen`")
def subscribing_by_listening(world: ModernWorld) -> None:
    def acknowledged(request: Request) -> dict[str, object]:
        meta = {f"{PREFIX}subscriptionId": request.id}
        wanted = request.json["params"]["notifications"]
        return note("notifications/subscriptions/acknowledged", {"_meta": meta, "notifications": wanted})

    def updated(request: Request) -> dict[str, object]:
        return note(UPDATED, {"_meta": {f"{PREFIX}subscriptionId": request.id}, "uri": "a:1"})

    world.on("subscriptions/listen", world.says_and_stops(acknowledged, updated))
    with world.client() as client:
        client.subscribe_resource("a:1")
        with client.listen() as events:
            heard = next(events)
            assert isinstance(heard, ResourceUpdated) and heard.uri == "a:1"
    (request,) = world.server.requests
    assert request.json["params"]["notifications"]["resourceSubscriptions"] == ["a:1"]


# --- hints

HINTS_ROW = "hints of a tool that it may be repeated (`idempotentHint` …)"


def _listed_and_broken(world: World, annotations: dict[str, bool] | None) -> ToolResult:
    tool = {"name": "echo", "inputSchema": {"type": "object"}}
    world.on("tools/list", {"tools": [tool | ({} if annotations is None else {"annotations": annotations})]})
    world.on("tools/call", world.breaks(), OK)
    with world.client() as client:
        client.list_tools()
        return client.call_tool("echo")


@proves(HINTS_ROW, "2024-11-05", "not in it")
def unhinted(world: World) -> None:
    with pytest.raises(ConnectionLost) as caught:
        _listed_and_broken(world, None)
    assert caught.value.may_have_executed and len(world.calls) == 1


@proves(HINTS_ROW, "2025-03-26 2025-06-18 2025-11-25 2026-07-28", "yes")
def hinted(world: World) -> None:
    assert _listed_and_broken(world, {"idempotentHint": True}).text == "ok"
    assert _listed_and_broken(world, {"readOnlyHint": True}).text == "ok"
    assert len(world.calls) == 4
    with pytest.raises(ConnectionLost):
        _listed_and_broken(world, {"idempotentHint": False})
    assert len(world.calls) == 5


# --- content

TEXT = {"type": "text", "text": "words"}
IMAGE = {"type": "image", "data": "AAE=", "mimeType": "image/png"}
RESOURCE = {"type": "resource", "resource": {"uri": "a:1", "text": "inside"}}
AUDIO = {"type": "audio", "data": "AAE=", "mimeType": "audio/wav"}
LINK = {"type": "resource_link", "uri": "a:1", "name": "one"}


@proves("content of results", "2024-11-05", "text, images, resources")
@proves("content of results", "2025-03-26", "and audio")
@proves("content of results", "2025-06-18", "and links to resources")
@proves("content of results", "2025-11-25 2026-07-28", "the same")
def content(world: World) -> None:
    blocks, kinds = [TEXT, IMAGE, RESOURCE], [TextContent, ImageContent, EmbeddedResource]
    if world.revision >= "2025-03-26":
        blocks, kinds = [*blocks, AUDIO], [*kinds, AudioContent]
    if world.revision >= "2025-06-18":
        blocks, kinds = [*blocks, LINK], [*kinds, ResourceLink]
    world.on("tools/call", {"content": blocks})
    with world.client() as client:
        result = client.call_tool("echo")
    assert [type(block) for block in result.content] == kinds
    assert [block.to_wire() for block in result.content] == blocks
    assert result.text == "words"


# --- titles, icons


def _described(world: World, **members: object) -> object:
    tool = {"name": "echo", "inputSchema": {"type": "object"}, **members}
    world.on("tools/list", {"tools": [tool]})
    with world.client() as client:
        (listed,) = client.list_tools()
    assert listed.to_wire() == tool
    return listed.display_name, [icon.safe_url for icon in listed.icons]


ICONS = [{"src": "https://example.com/icon.png", "sizes": ["48x48"]}, {"src": "javascript:alert(1)"}]


@proves("titles, icons", "2024-11-05 2025-03-26", "not in it")
def plain_names(world: World) -> None:
    assert _described(world) == ("echo", [])


@proves("titles, icons", "2025-06-18", "titles")
def titles(world: World) -> None:
    assert _described(world, title="Echo") == ("Echo", [])


@proves("titles, icons", "2025-11-25 2026-07-28", "yes")
def titles_and_icons(world: World) -> None:
    assert _described(world, title="Echo", icons=ICONS) == ("Echo", ["https://example.com/icon.png", None])


# --- a resource that is not there

MISSING_ROW = "a resource that is not there"


def _missing(world: World, code: int) -> Exception:
    def refuse(peer: Peer, request: Request) -> None:
        error = {"jsonrpc": "2.0", "id": request.id, "error": {"code": code, "message": "none", "data": {"uri": "a:9"}}}
        if isinstance(world, LegacyWorld):
            world.server.accept(peer)
            world.server.say(error)
        else:
            peer.respond_json(error)

    world.declare(resources={})
    world.on("resources/read", refuse)
    with world.client() as client, pytest.raises(Exception) as caught:
        client.read_resource("a:9")
    return caught.value


@proves(MISSING_ROW, HANDSHAKES, "`ResourceNotFound`")
def resource_not_found(world: World) -> None:
    error = _missing(world, -32002)
    assert isinstance(error, ResourceNotFound) and error.data == {"uri": "a:9"}


@proves(MISSING_ROW, "2026-07-28", "`InvalidParams`")
def resource_invalid(world: World) -> None:
    error = _missing(world, -32602)
    assert isinstance(error, InvalidParams) and error.data == {"uri": "a:9"}


# --- authorization

AUTH_ROW = "authorization by OAuth"


def _unauthorized(world: World) -> None:
    """It is said who may come in and how to find out; nobody goes and asks there."""
    challenge = f'Bearer resource_metadata="{world.server.origin}/.well-known/oauth-protected-resource"'
    world.on("tools/call", lambda peer, request: peer.respond(401, headers={"WWW-Authenticate": challenge}))
    with world.client(headers={"Authorization": "Bearer own"}) as client:
        with pytest.raises(AuthenticationError) as caught:
            client.call_tool("echo")
    assert caught.value.status == 401 and caught.value.headers["www-authenticate"] == challenge
    assert {request.header("Authorization") for request in world.server.requests} == {"Bearer own"}
    assert not any("well-known" in request.target for request in world.server.requests)
    assert meta_of(world.calls[0]).get("authorization") is None and len(world.calls) == 1


proves(AUTH_ROW, "2024-11-05", "not in it; a token as a header")(_unauthorized)
proves(AUTH_ROW, "2025-03-26 2025-06-18 2025-11-25 2026-07-28", "not yet; a token as a header")(_unauthorized)
