"""The examples of transfers run by themselves, as users run them: download_file.py and upload_tus.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transfer.fileserver import FileServer
from tests.transfer.peers import ROOT
from tests.transfer.test_tus import FakeTus


def run(name: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("download_file.py", ["1,048,576 bytes in 4 requests, verified: True", "done"]),
        ("upload_tus.py", ["interrupted, with", "from before", "the same: True"]),
    ],
)
def test_an_example_by_itself(name: str, words: list[str]) -> None:
    said = run(name)
    for text in words:
        assert text in said


def test_an_example_with_a_server_of_ours(tmp_path: Path) -> None:
    with FileServer(b"content") as server:
        assert "7 bytes in 1 requests, verified: False" in run("download_file.py", server.url, str(tmp_path))
    assert (tmp_path / "file.bin").read_bytes() == b"content"
    with FakeTus() as tus:
        assert "7 bytes are at" in run("upload_tus.py", str(tmp_path / "file.bin"), tus.endpoint)
        assert bytes(tus.uploads["/files/1"]) == b"content"
