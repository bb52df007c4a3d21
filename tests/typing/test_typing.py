"""What type checkers see of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed: pip install mypy")

# mypy reads all that the package imports; with a cold cache that takes its time.
PATIENCE = 110.0


def test_user_code_is_typed(tmp_path: Path) -> None:
    """mypy --strict reads typical code with the types that it states, and finds the mistakes that are marked.

    It finds the package as users have it: from the working directory, or installed with its ``py.typed``.
    """
    program = Path(__file__).with_name("api.py")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir", str(tmp_path)]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.startswith("Success: no issues found"), done.stdout + done.stderr
