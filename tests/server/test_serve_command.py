"""``streamhttp serve``, run as users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("cheroot")

import streamhttp_client
from streamhttp_client.cli.failures import CommandFailed
from streamhttp_client.cli.serve import _find
from tests.server.kit import Wire

# Seconds for the start or the end of a process on a busy machine.
PATIENCE = 30.0

MODULE = """
from streamhttp_client.server import Server

server = Server("served", "1.0")

@server.tool()
def add(a: int, b: int) -> int:
    return a + b

def make():
    return server

other = 7
"""


@contextmanager
def command(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The running command; it is killed if the test ends before it does."""
    (folder / "tools_module.py").write_text(MODULE)
    source = Path(streamhttp_client.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-m", "streamhttp_client", "serve", "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source)},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("name", ["server", "make"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_a_signal(tmp_path: Path, name: str, how: signal.Signals) -> None:
    """It prints its URL, answers, and ends with status 0 when it is told to, also while a client listens."""
    with command(tmp_path, f"tools_module:{name}") as process:
        assert process.stdout is not None and process.stderr is not None
        wire = Wire(process.stdout.readline().strip()).initialize()
        assert wire.tool("add", {"a": 1, "b": 2})["content"][0]["text"] == "3"
        with wire.send("GET") as listening:
            process.send_signal(how)
            assert b"retry: 1000" in listening.read()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == "streamhttp: stopping\n"


def test_told_to_stop_at_once(tmp_path: Path) -> None:
    """A signal in the first moment, and several in a row, end it as well."""
    for _ in range(3):
        with command(tmp_path, "tools_module:server") as process:
            assert process.stdout is not None
            process.stdout.readline()
            for how in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                process.send_signal(how)
            # A signal after the end of the command meets Python's own handlers.
            assert process.wait(PATIENCE) in (0, 130, -signal.SIGTERM, -signal.SIGINT)


def test_sessions_outlive_the_process(tmp_path: Path) -> None:
    """With an SQLite file a session goes on after a restart, on a host that was named."""
    url = ""
    session: str | None = None
    for _ in range(2):
        with command(tmp_path, "tools_module:server", "--store", "s.db", "--allow-host", "mcp.test") as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if session is None:
                session = Wire(url).initialize().session
            else:
                wire = Wire(url)
                wire.session = session
                with wire.request("ping", Host="mcp.test") as response:
                    assert response.status == 200
            process.terminate()
            assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tools_module", "expected MODULE:NAME"),
        ("no_such_module:server", "no module 'no_such_module'"),
        ("tools_module:other", "must be a Server"),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, target: str, said: str) -> None:
    with command(tmp_path, target) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "") and said in err


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("none", "there is no 'none' in the module"),
        ("server.none", "there is no 'server.none' in the module"),
        ("app", "is a WSGI application: give the Server"),
        ("make_app", "is a WSGI application: give the Server"),
        ("needs", "a function without arguments"),
        ("Server", "a function without arguments"),
    ],
)
def test_what_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, said: str) -> None:
    """It says what was found there, and what is wanted."""
    name = f"not_served_as_{target.replace('.', '_')}"
    more = "app = server.wsgi()\nmake_app = lambda: app\ndef needs(x): ...\n"
    (tmp_path / f"{name}.py").write_text(MODULE + more)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(CommandFailed, match=said):
        _find(f"{name}:{target}", str(tmp_path))
    monkeypatch.delitem(sys.modules, name)


def test_a_file_instead_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(CommandFailed, match="write tools:server"):
        _find("tools.py:server", str(tmp_path))


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--port", "99999"], "between 0 and 65535"), (["--store", "missing/s.db"], "folder of --store is not there")],
)
def test_options_that_cannot_be(tmp_path: Path, options: list[str], said: str) -> None:
    with command(tmp_path, "tools_module:server", *options) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "") and said in err


def test_listening_everywhere(tmp_path: Path) -> None:
    """It says that only this machine's names are let in, and prints a URL that works."""
    with command(tmp_path, "tools_module:server", "--host", "0.0.0.0") as process:
        assert process.stdout is not None and process.stderr is not None
        Wire(process.stdout.readline().strip()).initialize()
        assert "--allow-host" in process.stderr.readline()
        process.terminate()
        assert process.wait(PATIENCE) == 0
