"""The small JSON file beside an unfinished transfer: what another process needs to go on with it.

It says who is at work on the transfer. Whoever wants to take it over looks first whether that one still lives: file
locks are not relied on, since on network file systems some of them do nothing, silently.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import time
from typing import Any

__all__ = ["Sidecar", "address_key", "is_alive", "is_ours", "open_regular", "owner", "remove", "touched"]

# A transfer of another machine's counts as abandoned when its file was not written to for so long: longer than any
# default silence, so that a slow one is not taken for dead.
_FOREIGN_SECONDS = 300.0
# What claims a transfer holds a lock for as long as it takes to write this file.
_LOCK_SECONDS = 60.0
# What we write is a few hundred bytes; whatever is larger is not ours.
_MAX_SIZE = 1 << 20


def owner() -> dict[str, Any]:
    """Who this process is."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(who: Any, when: float | None) -> bool:
    """Whether the owner of a transfer is still at it.

    Args:
        who: What :func:`owner` said there; anything else is nobody.
        when: When its file was last written, seconds since the epoch.
    """
    if not isinstance(who, dict) or not isinstance(who.get("pid"), int):
        return False
    if who.get("host") != socket.gethostname():
        return when is not None and time.time() - when < _FOREIGN_SECONDS
    pid = who["pid"]
    if pid == os.getpid():
        return bool(who.get("started") == _started(pid))
    if os.name == "nt":  # os.kill would end it
        return when is not None and time.time() - when < _FOREIGN_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's process
    # Process ids are given out again; the time it was started tells two apart where the system says it.
    return bool(who.get("started") is None or who.get("started") == _started(pid))


def _started(pid: int) -> int | None:
    """When a process began, in the system's own count; None where it does not say. A zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def address_key(url: str) -> dict[str, str]:
    """An address for a sidecar: readable without its query, which may hold secrets, and a hash of all of it."""
    shown = url.partition("?")[0]
    return {"url": shown, "key": hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:32]}


def open_regular(path: str, flags: int) -> tuple[int, os.stat_result]:
    """Open a file that may be anything, since others may write to its folder: a descriptor, and what it is.

    Never waits: opening a pipe would, until somebody writes to it.

    Raises:
        OSError: It is no regular file, or a symbolic link.
    """
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    fd = os.open(path, flags)
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd, about


def is_ours(about: os.stat_result) -> bool:
    """Whether a file belongs to the user of this process: in a shared folder, anybody can put one under any name."""
    user = getattr(os, "geteuid", None)
    return user is None or about.st_uid == user()


def touched(path: str) -> float | None:
    """When a file was last written, seconds since the epoch; None if it is not there."""
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None


class Sidecar:
    """One JSON file that is replaced as a whole.

    Args:
        path: Where it is. Only its owner can read it: the address of an upload lets whoever knows it go on with it.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> dict[str, Any] | None:
        """What is in it; None if it is missing, or is nothing that we wrote.

        Of what another user wrote, only the owner: that he is at work may be true, and costs nothing if it is not. All
        else says which bytes to believe in, or where to send them.
        """
        try:
            fd, about = open_regular(self.path, os.O_RDONLY)
            with open(fd, "rb") as file:
                data = file.read(_MAX_SIZE + 1)
            state = json.loads(data) if len(data) <= _MAX_SIZE else None
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(state, dict):
            return None
        return state if is_ours(about) else {"owner": state.get("owner")}

    def write(self, state: dict[str, Any]) -> None:
        """Replace it, atomically."""
        try:
            draft = self._draft(state)
        except OSError:
            # A full disk has no room for a second file; within the first one there may be enough.
            self._overwrite(json.dumps(state).encode())
            return
        try:
            os.replace(draft, self.path)
        except BaseException:
            remove(draft)
            raise

    def _overwrite(self, data: bytes) -> None:
        fd, about = open_regular(self.path, os.O_RDWR)
        with open(fd, "r+b", buffering=0) as file:
            file.write(data.ljust(about.st_size))
            file.truncate(max(about.st_size, len(data)))

    def create(self, state: dict[str, Any]) -> bool:
        """Write it if there is none; False if there is one. Of several that try at once, one succeeds."""
        draft = self._draft(state)
        try:
            os.link(draft, self.path)
        except FileExistsError:
            return False
        except OSError:  # no hard links here
            try:
                fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return False
            with open(fd, "w") as file:
                json.dump(state, file)
        finally:
            remove(draft)
        return True

    def claim(self, worked_on: str) -> dict[str, Any] | None:
        """Become the owner: what the last one left, empty if nothing; None if somebody lives.

        Args:
            worked_on: The file that is written to while somebody is at it.

        Raises:
            OSError: The folder cannot be written to.
        """
        seen = _identity(self.path)
        if seen is None:
            return {} if self.create({"owner": owner()}) else None
        found = self.read() or {}
        if is_alive(found.get("owner"), touched(worked_on)):
            return None
        # One at a time may replace this very file: else who was slow would replace the claim of who was quick.
        lock = f"{self.path}.{hashlib.sha256(repr(seen).encode()).hexdigest()[:8]}"
        if not _lock(lock):
            return None
        try:
            if _identity(self.path) != seen:
                return None
            self.write({**found, "owner": owner()})
        except OSError:
            return None  # another user's, in a folder where only that one may take it away
        finally:
            remove(lock)
        return found

    def take(self) -> dict[str, Any] | None:
        """Take it away, and say what was in it. Of several that try at once, one succeeds: a rename is atomic."""
        mine = f"{self.path}.{os.urandom(4).hex()}"
        try:
            os.rename(self.path, mine)
        except OSError:
            return None
        state = Sidecar(mine).read() or {}
        remove(mine)
        return state

    def touch(self) -> None:
        """Show that somebody is at work, to who cannot see this process: on another machine the age decides."""
        try:
            os.utime(self.path)
        except OSError:
            pass

    def remove(self) -> None:
        remove(self.path)

    def _draft(self, state: dict[str, Any]) -> str:
        draft = f"{self.path}.{os.urandom(4).hex()}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(fd, "w") as file:
                json.dump(state, file)
        except BaseException:
            remove(draft)
            raise
        return draft


def _identity(path: str) -> tuple[int, ...] | None:
    """What tells the file that has a name now from any other that ever had or will have it; None if nothing has."""
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _lock(path: str) -> bool:
    """Create an empty file; False if it is there. It is held for a moment, so an old one is of a process that died."""
    for _ in range(2):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return True
        except FileExistsError:
            try:
                if time.time() - os.lstat(path).st_ctime < _LOCK_SECONDS:
                    return False
            except FileNotFoundError:
                return False
            remove(path)
    return False


def remove(path: str) -> None:
    """Take a file away if it is there and can be."""
    try:
        os.unlink(path)
    except OSError:
        pass
