"""Finds, starts and stops the real peers: servers of other makers, each in its own environment.

They live in the folder that ``STREAMHTTP_PEERS`` names, ``.ci/cache/peers`` of this repository by default,
and ``.ci/peers`` puts them there. One that is not installed skips its tests and says so; where ``CI=true`` it
fails them, so that a run that was meant to be complete cannot pass by leaving things out.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).with_name("servers")

#: Seconds until a starting server must have said where it is. Importing a framework takes about one on an
#: idle machine; the bound is for busy ones.
START_BOUND = 60.0
#: Seconds that a stopping server gets before it is killed.
STOP_BOUND = 10.0


def folder() -> Path:
    """Where the peers are installed, or would be."""
    return Path(os.environ.get("STREAMHTTP_PEERS") or ROOT / ".ci" / "cache" / "peers")


def absent(what: str, where: Path) -> NoReturn:
    """Skip the running test because a peer is not installed; fail it where all have to be."""
    message = f"{what} is not installed in {where}: run `.ci/peers`, or name its folder in STREAMHTTP_PEERS"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def require(what: str, path: Path) -> Path:
    """Return ``path`` if it is there; else skip or fail as `absent` does."""
    if not path.exists():
        absent(what, folder())
    return path


def node() -> Path:
    """The Node.js that the peers bring along; the conformance suite needs 22 or later."""
    return require("node", folder() / "npm" / "node_modules" / "node" / "bin" / "node")


#: Packages of npm, and what starts them.
_OF_NPM = {"npm": ("server-everything", "everything.mjs"), "npm2": ("server", "sdk.mjs")}


@dataclass(frozen=True)
class Kind:
    """One peer in one of its modes, and what can be expected of it there.

    Attributes:
        environment: Folder of its virtual environment; ``npm`` for the server that shows everything, ``npm2`` for
            one made with the npm SDK 2.x.
        stateless: It gives out no session ids. Of ``npm2``: it speaks nothing but 2026-07-28.
        json: It answers with JSON bodies, and so drops every notification that belongs to a call.
        shared: All its sessions keep their events in one store, as the SDKs do if nobody sees to it.
        legacy: It speaks HTTP+SSE of 2024-11-05, and nothing else.
        watched: It tells what was asked of it, see :meth:`Peer.seen`, and offers what the tests of 2026-07-28 need.
    """

    environment: str
    stateless: bool = False
    json: bool = False
    shared: bool = False
    legacy: bool = False
    watched: bool = False

    @property
    def _modes(self) -> list[str]:
        modes = {"stateless": self.stateless, "json": self.json, "shared": self.shared, "watched": self.watched}
        return [mode for mode, on in modes.items() if on]

    @property
    def name(self) -> str:
        return "-".join([self.environment, *(["legacy"] if self.legacy else []), *self._modes])

    def command(self) -> list[str]:
        """The command line that starts it; skips or fails the running test if it is not installed."""
        if self.environment in _OF_NPM:
            name, script = _OF_NPM[self.environment]
            require(name, folder() / "npm" / "node_modules" / "@modelcontextprotocol" / name)
            options = [f"--{mode}" for mode in self._modes]
            return [str(node()), str(SERVERS / script), str(folder() / "npm"), *options]
        python = require(self.environment, folder() / self.environment / "bin" / "python")
        script = "legacy.py" if self.legacy else "fast.py" if self.environment == "fastmcp" else "sdk.py"
        # Their own deprecation warnings are not ours to read.
        return [str(python), "-W", "ignore", str(SERVERS / script), *(f"--{mode}" for mode in self._modes)]


SDKS = ("mcp2", "mcp1", "fastmcp")
MODERNS = ("mcp2", "fastmcp", "npm2")
#: Sessions, event streams that resume, and a way back to the client.
STATEFUL = [Kind(environment) for environment in SDKS]
JSON = [Kind(environment, json=True) for environment in SDKS]
STATELESS = [Kind(environment, stateless=True, json=json) for environment in SDKS for json in (False, True)]
SHARED = [Kind(environment, shared=True) for environment in ("mcp2", "mcp1")]
#: One stream for everything. The SDK still has it in 1.x.
LEGACY = [Kind("mcp1", legacy=True)]
EVERYTHING = Kind("npm")
#: Those that speak 2026-07-28.
MODERN = [Kind(environment, json=json, watched=True) for environment in MODERNS for json in (False, True)]
#: One that speaks nothing else.
STRICT = Kind("npm2", stateless=True, watched=True)
#: Those that know nothing of it.
OLDER = [Kind("mcp1", watched=True), Kind("mcp1", stateless=True, json=True, watched=True)]


class Peer:
    """A running server; ``url`` is its endpoint."""

    def __init__(self, kind: Kind, url: str, process: subprocess.Popen[str]) -> None:
        self.kind = kind
        self.url = url
        self.process = process

    def seen(self) -> list[dict[str, Any]]:
        """Every request to its endpoint so far: ``http`` method, ``headers`` and ``body``. Of a watched one only."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=STOP_BOUND)
        try:
            connection.request("GET", "/watched")
            notes = json.load(connection.getresponse())
        finally:
            connection.close()
        assert isinstance(notes, list)
        return notes

    def stop(self) -> None:
        """End the process and with it every connection and session. May be called twice."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(STOP_BOUND)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_BOUND)
        self.process.stdout.close()


@contextmanager
def running(kind: Kind) -> Iterator[Peer]:
    """Start a peer, wait until it says where it listens, and stop it in the end."""
    command = kind.command()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=SERVERS
        )
        peer = Peer(kind, "", process)
        try:
            line = _first_line(process)
            if not line:
                errors.seek(0)
                pytest.fail(f"{kind.name} did not start:\n{errors.read()}", pytrace=False)
            peer.url = json.loads(line)["url"]
            yield peer
        finally:
            peer.stop()


def _first_line(process: subprocess.Popen[str]) -> str:
    """Read one line within the bound; empty if there is none. Pipes have no timeout, hence the thread."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    stdout = process.stdout
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    try:
        return lines.get(timeout=START_BOUND)
    except queue.Empty:
        return ""
