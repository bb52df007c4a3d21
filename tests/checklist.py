"""Which requirements of the protocol no test proves: ``python -m tests.checklist``.

The requirements that MCP 2025-03-26 to 2025-11-25 put on a client have IDs, and a test names those that it proves at
the beginning of its docstring. This prints the IDs that none names; the exit status is 1 if there are any.

The letters: BASE messages, H25 Streamable HTTP, L25 lifecycle, K cancellation and timeouts, P progress, G logging,
T pagination, tools, resources, prompts, completion and tasks, E elicitation, sampling and roots, O older revisions,
W the event stream itself.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LEFT_OUT", "REQUIRED", "main", "named", "uncovered"]

_COUNTS = {"BASE": 19, "H25": 26, "L25": 12, "K": 8, "P": 7, "G": 4, "T": 17, "E": 15, "O": 4, "W": 8}

LEFT_OUT = {
    "BASE-06": "resultType belongs to 2026-07-28",
    "BASE-07": "resultType belongs to 2026-07-28",
    "BASE-08": "a rule about error codes of 2026-07-28",
    "BASE-09": "error codes of 2026-07-28",
    "BASE-12": "trace context belongs to 2026-07-28",
    "BASE-19": "a rule of 2026-07-28; nothing here reads serverInfo to decide anything",
    "H25-25": "falls back to HTTP+SSE of 2024-11-05, which is not among the three revisions",
    "L25-11": "periodic pings are optional and left to the caller, who has send_ping()",
    "G-02": "the log level of each request belongs to 2026-07-28",
    "G-04": "advice on adopting a feature at 2026-07-28",
    "T-09": "advice to user interfaces: confirm, show, log; timeouts are L25-07, validation T-05",
    "T-11": "the other code for a missing resource belongs to 2026-07-28",
    "T-17": "the tasks extension belongs to 2026-07-28",
    "E-10": "advice to user interfaces at 2026-07-28",
    "E-15": "advice on adopting features at 2026-07-28",
    "O-03": "HTTP+SSE of 2024-11-05, which is not among the three revisions",
}
"""IDs that need no test here, and why."""

REQUIRED = tuple(
    id
    for letters, count in _COUNTS.items()
    for id in (f"{letters}-{number:02}" for number in range(1, count + 1))
    if id not in LEFT_OUT
)
"""IDs that a test must name."""

_ID = re.compile(rf"\b(?:{'|'.join(_COUNTS)})-\d\d\b")


def _docstrings(path: Path) -> Iterator[str]:
    """Docstrings of the test functions and test classes of a file."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        named_so = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if named_so or (isinstance(node, ast.ClassDef) and node.name.startswith("Test")):
            assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
            yield ast.get_docstring(node) or ""


def named(folder: Path) -> dict[str, int]:
    """How many tests below ``folder`` name each ID."""
    counts: dict[str, int] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for text in _docstrings(path):
            for id in set(_ID.findall(text)):
                counts[id] = counts.get(id, 0) + 1
    return counts


def uncovered(folder: Path) -> list[str]:
    """The required IDs that no test below ``folder`` names, in order."""
    counts = named(folder)
    return [id for id in REQUIRED if id not in counts]


def main() -> int:
    """Print what is not covered; the exit status."""
    missing = uncovered(Path(__file__).parent)
    for id in missing:
        print(f"{id}: no test names it")
    print(f"{len(REQUIRED) - len(missing)} of {len(REQUIRED)} requirements named, {len(LEFT_OUT)} left out")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
