"""The command ``streamhttp``, also ``python -m streamhttp_client``."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; see ``streamhttp --help``.

    Args:
        argv: The arguments after the program's name; those of this process if None.
    """
    from .app import run

    return run(argv)
