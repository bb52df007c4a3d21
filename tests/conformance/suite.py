"""Runs the public conformance suite, npm ``@modelcontextprotocol/conformance``, and reads what it found.

The suite plays the other side: a server for each client scenario, a client for each server scenario. It
writes one folder per scenario with a ``checks.json``; those files, not its output, are what tests look at.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamhttp_client
from tests.live.peers import folder, node, require

REVISION = "2025-11-25"
#: Seconds for one run of the suite; it gives a scenario 30 by itself.
BOUND = 110.0

# How the suite names the folder of a scenario: a prefix on the server side, and the time it started.
_FOLDER = re.compile(r"(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True)
class Check:
    """One finding of one scenario. ``status`` is SUCCESS, FAILURE, WARNING, INFO or SKIPPED."""

    scenario: str
    id: str
    status: str
    description: str
    error: str | None
    details: Any


@dataclass(frozen=True)
class Outcome:
    """What one run found, and what it printed."""

    checks: list[Check]
    exit_code: int
    output: str

    def passed(self, scenario: str) -> bool:
        """Whether the scenario made at least one check and found neither a failure nor a warning."""
        statuses = [check.status for check in self.checks if check.scenario == scenario]
        return "SUCCESS" in statuses and not {"FAILURE", "WARNING"} & set(statuses)

    def report(self) -> str:
        """Everything that is not a success, and the output, for a failing test to show."""
        lines = [
            f"{check.scenario} {check.status} {check.id}: {check.error or check.description}"
            for check in self.checks
            if check.status in ("FAILURE", "WARNING")
        ]
        return "\n".join([*lines, f"exit code {self.exit_code}", self.output])


def run_client(command: str, scenario: str, results: Path, *, revision: str = REVISION) -> Outcome:
    """Let the suite start ``command`` against its server for one scenario.

    Args:
        command: Split at spaces by the suite, which appends the URL.
        results: An empty folder for what the suite writes.
    """
    return _run(["client", "--command", command, "--scenario", scenario, "--spec-version", revision], results)


def run_server(url: str, results: Path, *arguments: str) -> Outcome:
    """Let the suite try the server at ``url``; ``arguments`` choose the scenarios, as its ``--help`` says."""
    return _run(["server", "--url", url, *arguments], results)


def _run(arguments: list[str], results: Path) -> Outcome:
    entry = require(
        "the conformance suite",
        folder() / "npm" / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js",
    )
    # The suite starts our adapter in a process of its own, which must find the very package under test.
    source = Path(streamhttp_client.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONWARNINGS": "error"}
    finished = subprocess.run(
        [str(node()), str(entry), *arguments, "--output-dir", str(results)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=BOUND,
    )
    prefix = "server-" if arguments[0] == "server" else ""
    return Outcome(_read(results, prefix), finished.returncode, finished.stdout)


def _read(results: Path, prefix: str) -> list[Check]:
    checks = []
    for file in sorted(results.rglob("checks.json")):
        named = _FOLDER.fullmatch(file.parent.relative_to(results).as_posix())
        assert named is not None, file
        for found in json.loads(file.read_text()):
            checks.append(
                Check(
                    scenario=named["scenario"].removeprefix(prefix),
                    id=found["id"],
                    status=found["status"],
                    description=found.get("description", ""),
                    error=found.get("errorMessage"),
                    details=found.get("details"),
                )
            )
    return checks
