"""How much memory this process has, for tests that something does not grow."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


def resident_kib() -> int:
    """The resident size now; where the system does not tell, the largest that it ever was."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


class Growth:
    """The largest growth between :meth:`look` calls and the beginning."""

    def __init__(self) -> None:
        self._before = resident_kib()
        self.kib = 0

    def look(self) -> None:
        self.kib = max(self.kib, resident_kib() - self._before)
