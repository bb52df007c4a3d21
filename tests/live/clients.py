"""What the live tests share: a client of a peer, a thread, and a bounded wait for another process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import Client
from tests.live.peers import Kind, Peer

#: Seconds for a whole call; none comes near it unless it fails.
BOUND = 30.0
#: Seconds between two looks at a process that cannot be waited for otherwise.
GLANCE = 0.02

#: These tests are about sessions, whatever newer revisions a peer speaks too.
REVISION = "2025-11-25"


def for_peers(*kinds: Kind) -> pytest.MarkDecorator:
    """Run a test with each of these peers as its ``peer``."""
    return pytest.mark.parametrize("peer", kinds, indirect=True, ids=[kind.name for kind in kinds])


def connect(peer: Peer | str, **options: Any) -> Client:
    """A client of a peer, or of an URL that leads to one."""
    url = peer if isinstance(peer, str) else peer.url
    return Client(url, **{"protocol": REVISION, "timeout": BOUND, **options})


def meet(peer: Peer | str, **options: Any) -> Client:
    """A client that finds out by itself how a peer speaks, which is what a user gets who says nothing."""
    url = peer if isinstance(peer, str) else peer.url
    return Client(url, **{"timeout": BOUND, **options})


class Traffic:
    """The requests that have reached a watched peer since this was made."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._since = len(peer.seen())

    def notes(self) -> list[dict[str, Any]]:
        """As :meth:`Peer.seen` has them."""
        return self._peer.seen()[self._since :]

    def messages(self) -> list[dict[str, Any]]:
        """The JSON-RPC messages among them."""
        return [note["body"] for note in self.notes() if note["body"] is not None]

    def methods(self) -> list[str]:
        """The methods of these; for a request of HTTP without one, that of HTTP."""
        return [note["http"] if note["body"] is None else note["body"].get("method", "") for note in self.notes()]


def ask(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool that answers in JSON text."""
    return json.loads(client.call_tool(tool, arguments).text)


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Look until something is so: for what happens in a peer's process, where no event can be waited on."""
    deadline = time.monotonic() + BOUND
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"not within {BOUND} s: {what}"
        pause.wait(GLANCE)


class Background:
    """A function on a thread of its own; leaving the block joins it and raises what it raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.value: Any = None
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.value = self._function()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._thread.join(BOUND)
        if kind is None:
            assert not self._thread.is_alive(), f"still running after {BOUND} s"
            if self._error is not None:
                raise self._error
