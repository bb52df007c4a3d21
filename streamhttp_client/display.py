"""Progress in words: what the command line and the notebook display have in common."""

from __future__ import annotations

import unicodedata
from typing import Literal

from .progress import Progress

__all__ = ["Unit", "amount", "describe", "duration", "printable"]

Unit = Literal["", "bytes"]

_LONG = 100 * 86_400.0


def printable(text: str) -> str:
    """A text from elsewhere without what steers terminals.

    Control characters but tab and line feed, lone surrogates, and the characters that turn the direction of writing are
    shown as �. All else stands, whatever the language.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    if char in "\t\n":
        return False
    return unicodedata.category(char) in ("Cc", "Cs") or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"


def describe(progress: Progress, unit: Unit = "", *, ended: bool = False) -> str:
    """How far it has come, in words: ``34/200 (17 %), 33/s, 5 s left, attempt 2: reading``.

    Args:
        progress: The count.
        unit: Of it.
        ended: True if it goes no further, finished or not: then no time is left.
    """
    words = printable(" ".join((progress.message or "").split()))
    text = amount(progress.progress, unit)
    if progress.total is not None:
        text += f"/{amount(progress.total, unit)}"
    if progress.fraction is not None:
        text += f" ({100 * progress.fraction:.0f} %)"
    # A task of 2026-07-28 has words, and no numbers.
    counted = bool(progress.progress) or progress.total is not None or not words
    parts = [text] if counted else []
    if progress.state == "restarted":
        parts.append("started again")
    if progress.rate is not None and counted:
        parts.append(f"{amount(progress.rate, unit)}/s")
    if progress.eta is not None and progress.progress != progress.total and not ended:
        parts.append(f"{duration(progress.eta)} left")
    if progress.attempt > 1:
        parts.append(f"attempt {progress.attempt}")
    return ": ".join(filter(None, (", ".join(parts), words)))


def amount(value: float, unit: Unit = "") -> str:
    """A count, or a size: ``1234``, ``0.25``, ``1.2 MiB``."""
    if unit == "bytes":
        for name in ("B", "KiB", "MiB", "GiB"):
            if abs(value) < 1024 or name == "GiB":
                return f"{value:.0f} B" if name == "B" else f"{value:.1f} {name}"
            value /= 1024
    if abs(value) >= 1e15:  # beyond what floats count exactly, and reads; infinity too
        return f"{value:.3g}"
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}"


def duration(seconds: float) -> str:
    """A time that people can grasp: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds > _LONG:
        return "over 100 days"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
