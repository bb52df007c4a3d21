"""Every example runs, as users run it: by itself, and against the address of a server."""

from __future__ import annotations

import functools
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamhttp_client

pytest.importorskip("cheroot", reason="the embedded server needs the extra [server]")

# A script finds the package in its installed form, or where the tests have it from.
PACKAGES = str(Path(streamhttp_client.__file__).parent.parent)
EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 60.0

# What each prints that it prints only if it worked.
SAID = {
    "call_tool.py": ["workshop 1.0 speaks 2026-07-28", "- crunch: Add up the numbers", "\n55\n", "refused: invalid"],
    "stream_progress.py": ["5 of 5", "row 1\n", "[info] half of it is done", "{'rows': 5, 'total': 15}"],
    "resume_in_another_process.py": [
        "first process: row 5\n",
        "second process: row 6\n",
        "second process: row 20\n",
        "{'rows': 20, 'total': 210}",
    ],
    "callbacks.py": [
        "the server asks: Who shall sign the letter?",
        "the server asks the model: Write a short letter about the weather.",
        "Dear all, all is well.\n-- A. Nonymous (to be kept in file:///tmp/letters)",
    ],
    "listen.py": ["heard: ResourceUpdated(uri='workshop://board'", "back in five minutes"],
    "flask_like_threads.py": [f"200 the sum of 1 to {n} is {n * (n + 1) // 2}\n" for n in range(1, 17)],
    "retry_with_a_stored_cursor.py": ["attempt 1: not yet", "the answer is 42"],
    "task_in_another_process.py": ["the task is working", "a hole of 5 m"],
    "answer_later.py": ["Who shall sign the letter?", "Dear all, all is well.\n-- Ada (to be kept in file:///tmp/letters)"],
    "event_source.py": ["connected, from id none on", "count: 6 of 6", "6 events over 3 connections"],
    "open_remote_zip.py": ["notes/readme.txt", "What you wanted to read.", "bytes were sent"],
    "notebook_cells.py": ["{'rows': 50, 'total': 1275}", "bytes of session"],
}


@functools.cache
def run(name: str, *arguments: str) -> str:
    """The output of an example that ended well."""
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", "PYTHONPATH": PACKAGES}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server of the examples, in this process."""
    workshop = runpy.run_path(str(EXAMPLES / "workshop.py"))
    with workshop["server"].serve() as running:
        yield running.url


@pytest.mark.parametrize("name", SAID)
def test_an_example_by_itself(name: str) -> None:
    """Without arguments an example brings its own server."""
    said = run(name)
    for text in SAID[name]:
        assert text in said


@pytest.mark.parametrize("name", [name for name in SAID if name not in ("event_source.py", "open_remote_zip.py")])
def test_an_example_with_an_address(name: str, url: str) -> None:
    """With an address it uses that server."""
    said = run(name, url)
    for text in SAID[name]:
        assert text in said


def test_the_second_process_repeats_nothing() -> None:
    """What the first process has seen does not come again, and nothing is missing."""
    lines = run("resume_in_another_process.py").splitlines()
    rows = [line.rpartition(" ")[2] for line in lines if "row " in line]
    assert rows == [str(number) for number in range(1, 21)]


def test_every_example_is_run_by_some_test() -> None:
    """An example that no test names is an example that will break."""
    tests = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert {name for name in names if name not in tests and name.removesuffix(".py") not in tests} == set()
