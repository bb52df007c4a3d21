"""Which requirements of the protocol no test proves: ``python -m tests.checklist``.

The requirements that MCP 2024-11-05 to 2026-07-28 put on a client have IDs, and a test names those that it proves at
the beginning of its docstring. This prints the IDs that none names; the exit status is 1 if there are any.

The letters: X where the eras contradict each other, BASE messages, H25 and H26 Streamable HTTP, L25 lifecycle, V26
versions and finding out the era, M26 requests that need input, S26 and S25 subscriptions, C26 kept results, K
cancellation and timeouts, P progress, G logging, T pagination, tools, resources, prompts, completion and tasks, E
elicitation, sampling and roots, O older revisions, W the event stream itself. The numbers after 25 and 26 are those of
2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LEFT_OUT", "REQUIRED", "main", "named", "uncovered"]

_CONTRADICTIONS = 18
_COUNTS = {
    "BASE": 19,
    "H25": 26,
    "L25": 12,
    "V26": 13,
    "H26": 22,
    "M26": 10,
    "S26": 9,
    "S25": 1,
    "C26": 10,
    "K": 8,
    "P": 7,
    "G": 4,
    "T": 17,
    "E": 15,
    "O": 4,
    "W": 8,
}

LEFT_OUT = {
    "L25-11": "periodic pings are optional and left to the caller, who has send_ping()",
    "G-04": "advice on adopting a feature at 2026-07-28",
    "T-09": "advice to user interfaces: confirm, show, log; timeouts are L25-07, validation T-05",
    "E-10": "advice to user interfaces at 2026-07-28",
    "E-15": "advice on adopting features at 2026-07-28",
}
"""IDs that need no test here, and why."""

_ALL = (
    *(f"X{number}" for number in range(1, _CONTRADICTIONS + 1)),
    *(f"{letters}-{number:02}" for letters, count in _COUNTS.items() for number in range(1, count + 1)),
)

REQUIRED = tuple(id for id in _ALL if id not in LEFT_OUT)
"""IDs that a test must name."""

# Not where a hyphen goes before or after it: "PX-1" and "X1-2" are something else.
_ID = re.compile(rf"(?<![\w-])(?:(?:{'|'.join(_COUNTS)})-\d\d|X\d\d?)(?![\w-])")


def _docstrings(path: Path) -> Iterator[str]:
    """Docstrings of the test functions and test classes of a file."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        named_so = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if named_so or (isinstance(node, ast.ClassDef) and node.name.startswith("Test")):
            assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
            yield ast.get_docstring(node) or ""


def named(folder: Path) -> dict[str, int]:
    """How many tests below ``folder`` name each ID, before the first colon of their docstrings.

    Those of the server are not counted: they prove what it does about a requirement, and not what the client does.
    """
    counts: dict[str, int] = {}
    for path in sorted(folder.rglob("test_*.py")):
        if path.relative_to(folder).parts[0] == "server":
            continue
        for text in _docstrings(path):
            for id in set(_ID.findall(text.partition(":")[0])):
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
