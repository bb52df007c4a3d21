"""README's table of what is supported of each revision, and the register of what proves its cells.

A proof is a function that takes a `World`, a server of one revision and nothing else, and runs there what a cell says::

    @proves("ping", "2024-11-05 2025-03-26 2025-06-18 2025-11-25", "yes")
    def a_ping(world: World) -> None:
        ...

It names the exact words of its cells, so that neither the words nor the behaviour can change alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["PROOFS", "Proof", "proves", "read_table"]

README = Path(__file__).parent.parent.parent / "README.md"

#: Takes the world of the revision.
Check = Callable[[Any], None]
C = TypeVar("C", bound=Check)


@dataclass(frozen=True)
class Proof:
    """What proves one cell, and the words that it proves."""

    revision: str
    row: str
    words: str
    check: Check

    @property
    def id(self) -> str:
        """For the test's name."""
        return f"{self.revision}-{self.row}".replace("`", "").replace("…", "...")


#: By revision and row.
PROOFS: dict[tuple[str, str], Proof] = {}


def proves(row: str, revisions: str, words: str) -> Callable[[C], C]:
    """Register a proof.

    Args:
        row: The first cell of the row, as it is written.
        revisions: Those whose cells have these words, separated by spaces.
        words: As they are written.
    """

    def register(check: C) -> C:
        for revision in revisions.split():
            assert (revision, row) not in PROOFS, f"two proofs of {row!r} at {revision}"
            PROOFS[revision, row] = Proof(revision, row, words, check)
        return check

    return register


def read_table() -> dict[tuple[str, str], str]:
    """The words of each cell of README's table, by revision and row."""
    section = README.read_text("utf-8").partition("\n## What is supported\n")[2].partition("\n## ")[0]
    header, rule, *rows = [_cells(line) for line in section.splitlines() if line.startswith("|")]
    assert header[0] == "" and set("".join(rule)) == {"-"}
    table = {}
    for row, *words in rows:
        assert len(words) == len(header) - 1, row
        for revision, cell in zip(header[1:], words, strict=True):
            assert cell and (revision, row) not in table, (revision, row)
            table[revision, row] = cell
    return table


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
