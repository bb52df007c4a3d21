"""What killed downloads left beside a target, and when it may be taken away.

A process that is killed between two calls of the system leaves a name that nobody looks for any more: a draft that was
to be renamed, a part under a name of its own, a part that has become the file already. Whoever comes next to the same
target finds them by their names, and touches nothing that somebody may still be at work on.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from collections.abc import Callable
from typing import Any

from .names import name_beside
from .sidecar import Sidecar, is_alive, remove, touched

__all__ = ["sweep", "take_over", "tidy"]

# A draft is renamed within a moment, or written to all the time. Judged by when its name or content last changed.
_DRAFT_SECONDS = 300.0
_DRAFT = re.compile(r"(\.[0-9a-f]{8})?\.part(\.json)?\.[0-9a-f]{8}")


def sweep(stem: str) -> None:
    """Remove the drafts of downloads that were killed. Only for the owner of the claim on ``<stem>.part``."""
    for path in glob.glob(f"{glob.escape(stem)}.*.????????"):
        if not _DRAFT.fullmatch(path[len(stem) :]):
            continue
        try:
            about = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) and time.time() - about.st_ctime > _DRAFT_SECONDS:
            remove(path)


def take_over(stem: str, place: str, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Downloads that worked under names of their own and were killed: keep the largest, remove the others.

    Args:
        stem: What their names begin with.
        place: Where the largest is put.
        is_wanted: Tells from what its sidecar says whether a part can be of use at all.

    Returns:
        What the sidecar of the largest said; empty if there is none.
    """
    best: dict[str, Any] = {}
    size = 0
    for name in glob.glob(f"{glob.escape(stem)}.????????.part.json"):
        path = name.removesuffix(".json")
        stray = Sidecar(name)
        state = stray.read()
        if state is None or "key" not in state or is_alive(state.get("owner"), touched(path)):
            continue
        if stray.take() is None:
            continue  # somebody else has it
        try:
            about = os.lstat(path)
            if is_wanted(state) and stat.S_ISREG(about.st_mode) and about.st_size > size:
                os.replace(path, place)
                best, size = state, about.st_size
            else:
                remove(path)
        except OSError:
            pass  # never begun, or gone
    return best


def tidy(target: str) -> None:
    """Remove the names that are left if a process was killed just after its file had come to be at ``target``."""
    part = f"{name_beside(target)}.part"
    sidecar = Sidecar(f"{part}.json")
    state = sidecar.read()
    if state is None or is_alive(state.get("owner"), touched(part)):
        return
    try:
        if not os.path.samestat(os.lstat(part), os.lstat(target)):
            return
    except FileNotFoundError:
        if not state.get("owner"):
            return  # let go of in good order: not ours to judge
    except OSError:
        return
    else:
        remove(part)
    sidecar.remove()
