"""The frame of the command: help, exit statuses, errors in one line."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import streamhttp_client
from streamhttp_client import exceptions
from streamhttp_client.cli import app
from streamhttp_client.cli.failures import CommandFailed, Terminated, describe, exit_status
from tests.cli.conftest import Ran

Run = Callable[..., Ran]

STATUS = {"status": 500, "headers": {}}


def test_help_names_every_command_and_exit_status(streamhttp: Run) -> None:
    """``--help`` goes to stdout with status 0."""
    ran = streamhttp("--help")
    assert (ran.status, ran.err) == (0, "")
    for word in ("demo", "info", "tools", "call", "listen", "exit status", "130", "143"):
        assert word in ran.out


def test_no_command_shows_the_help_as_an_error(streamhttp: Run) -> None:
    """Status 2, on stderr."""
    ran = streamhttp()
    assert (ran.status, ran.out) == (2, "")
    assert "exit status" in ran.err


def test_version(streamhttp: Run) -> None:
    """``--version`` prints the distribution and its version."""
    assert streamhttp("--version") == (0, f"streamhttp-client {streamhttp_client.__version__}\n", "")


@pytest.mark.parametrize("command", [name for name in app._COMMANDS if app._present(name)])
def test_every_command_explains_itself(streamhttp: Run, command: str) -> None:
    """``streamhttp COMMAND --help`` describes the options and the exit statuses within 80 columns."""
    ran = streamhttp(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert f"usage: streamhttp {command}" in ran.out
    assert "exit status" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_costs_little() -> None:
    """Asking for help imports neither the network nor the server."""
    program = (
        "import sys; from streamhttp_client.cli import main; main(['--help']);"
        "print([name for name in ('requests', 'urllib3', 'rich', 'cheroot', 'msgspec') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_modules_of_commands_import_nothing_heavy_at_the_top() -> None:
    """What a command needs of the network, the server or rich is imported when it runs."""
    heavy = {"client", "net", "server", "transfer", "transport", "eventsource", "rich"}
    found = []
    for path in Path(app.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in heavy and node.level != 1:
                found.append((path.name, node.module))
    assert found == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (CommandFailed("x", 7), 7),
        (exceptions.ToolError("x"), 1),
        (exceptions.RPCError("x", code=1), 1),
        (exceptions.InvalidResult("x"), 1),
        (exceptions.ConnectionLost("x"), 1),
        (exceptions.CallTimeout("x"), 1),
        (exceptions.TransferError("x"), 1),
        (exceptions.CapabilityError("x"), 1),
        (exceptions.MissingExtra("x", "cli"), 1),
        (OSError("x"), 1),
        (RuntimeError("x"), 1),
        (exceptions.LocalProtocolError("x"), 2),
        (exceptions.ConnectionFailed("x"), 3),
        (exceptions.HTTPStatusError("x", **STATUS), 3),
        (exceptions.AuthenticationError("x", **STATUS), 3),
        # What a server says to a transfer counts as what it says to anything else does.
        (exceptions.TransferRefused("x", **STATUS), 3),
        (exceptions.TransferForbidden("x", **STATUS), 3),
        (exceptions.UnsupportedVersion("x", requested="y"), 3),
        (exceptions.ContentTypeError("x", content_type=None, **STATUS), 3),
    ],
)
def test_exit_statuses(error: BaseException, status: int) -> None:
    """What failed decides the status."""
    assert exit_status(error) == status


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (exceptions.ConnectionFailed("no\n route"), "no route"),
        (exceptions.RPCError("\x1b[2J", code=5), "�[2J (code 5)"),
        (FileNotFoundError(2, "No such file", "x.txt"), "No such file: 'x.txt'"),
        (RuntimeError("odd"), "unexpected RuntimeError: odd (-v shows where)"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_errors_are_one_line(error: BaseException, text: str) -> None:
    """One line, whatever stands in the error, and nothing that steers a terminal."""
    assert describe(error) == text


def test_an_error_of_ours_is_one_line_too(streamhttp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a bug does not print a traceback unless asked, and says how to ask."""

    def broken(parser: object) -> Callable[[object], int]:
        def run(options: object) -> int:
            raise ZeroDivisionError("oh")

        return run

    monkeypatch.setattr("streamhttp_client.cli.demo.demo", broken)
    assert streamhttp("demo") == (1, "", "streamhttp: unexpected ZeroDivisionError: oh (-v shows where)\n")
