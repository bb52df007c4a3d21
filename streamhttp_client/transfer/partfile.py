"""The partial file beside the target: claimed by one download at a time, whole or resumable at every moment.

Invariants:

- One inode only ever holds bytes of one version of the remote file. To begin again means a new inode under the same
  name, never a truncated one; so a download that was taken over by mistake can do no harm to who took it.
- The sidecar is the claim: whoever created it owns ``<target>.part``. It names its owner; what a dead owner left is
  taken over by renaming it away, in which one of several succeeds. Who cannot have it works under a name of its own.
- What could be gone on with is thrown away only for a version with a strong validator of its own. Anything else that
  comes in its place (the page of a captive portal, say) is written to a draft until it is whole.
- The sidecar never says of a byte that it is there before it is on the disk: after a power failure, a file whose gaps
  were known would have others.
- The final name changes once, from what was there before to the whole file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from ..exceptions import DiskFull, TargetChanged, TargetExists
from .names import name_beside
from .ranges import Representation
from .remains import Remains, is_of, open_remains
from .sidecar import Sidecar, address_key, open_regular, owner, remove
from .strays import sweep, take_over
from .target import mode_of, put_in_place, sync_folder

__all__ = ["PartFile", "disk_error"]

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def disk_error(error: OSError, path: str, kept: int = 0, resumable: bool = False) -> Exception:
    """DiskFull for what says so; else the error as it is."""
    if error.errno not in _FULL:
        return error
    text = f"no room for {path!r} after {kept} bytes: {error.strerror}"
    return DiskFull(text, bytes_kept=kept, resumable=resumable)


class PartFile:
    """A claimed partial file. Opening one may find what an earlier process left, if it belongs to the same address.

    Args:
        target: Where the file is to be in the end.
        url: What is fetched. Bytes of another address are not gone on with; of an address that differs in its query
            only, as signed links do from day to day, they are if a strong entity tag and the size can tell.
        resume: False to begin anew in any case.

    Attributes:
        version: Which version of the file is in it; empty if nothing is.
        offset: Where the next byte goes; the number of bytes that are there, if there are no ``gaps``.
        gaps: ``[start, end]`` of what is missing, while parts are fetched in parallel; else None.
    """

    def __init__(self, target: str, url: str, *, resume: bool) -> None:
        self.target = target
        self._key = address_key(url)
        self.version = Representation()
        self.offset = 0
        self.gaps: list[list[int]] | None = None
        self._fd = -1
        self._aside: Remains | None = None
        self._came_late = False  # something was there when the whole file was to get its name
        self._stem = name_beside(target)
        self.path = f"{self._stem}.part"
        self._sidecar = Sidecar(f"{self.path}.json")
        found = self._claim()
        self._private = found is None
        self._found = found
        if found is None:
            self.path = f"{self._stem}.{os.urandom(4).hex()}.part"
            self._sidecar = Sidecar(f"{self.path}.json")
            self._sidecar.create(self._state())
        elif resume and (remains := open_remains(self.path, self._key, found)):
            self._fd, _, self.version, self.offset, self.gaps = remains

    @property
    def kept(self) -> int:
        """Bytes that are there."""
        if self.gaps is None:
            return self.offset
        return (self.version.total or 0) - sum(end - start for start, end in self.gaps)

    @property
    def begun(self) -> bool:
        """Whether there is a file at all."""
        return self._fd >= 0

    @property
    def is_provisional(self) -> bool:
        """Whether what is written now takes the place of what was laid aside only once it is whole."""
        return self._aside is not None

    def begin(self, version: Representation, *, lay_aside: bool = False) -> None:
        """Begin with a version of the file.

        Args:
            version: Which.
            lay_aside: Keep what is there until this one is whole, instead of throwing it away.
        """
        lay_aside = lay_aside and self._fd >= 0
        if self._fd >= 0:
            self._check_ours()
        if lay_aside:
            self._settle()
        elif self._fd >= 0:
            # First: from here on a crash leaves nothing that could be taken for a part of the new version.
            self.version, self.gaps = Representation(), None
            self._sidecar.write(self._state())
            os.close(self._fd)
            self._fd = -1
        draft = f"{self.path}.{os.urandom(4).hex()}"
        mode = mode_of(self.target)
        # We must be able to open it again, whatever the mode in the end.
        mode = 0o666 if mode is None else mode | 0o600
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
        if lay_aside:
            self._aside = Remains(self._fd, self.path, self.version, self.offset, self.gaps)
            self.path = draft
        self._fd = fd
        self.offset, self.version, self.gaps = 0, version, None
        if not lay_aside:
            try:
                os.replace(draft, self.path)
            except OSError:  # a folder has that name
                remove(draft)
                raise
            self.save()

    def fall_back(self) -> bool:
        """Throw away what came in the place of what was laid aside, and go on with that; False if nothing was."""
        aside, self._aside = self._aside, None
        if aside is None:
            return False
        os.close(self._fd)
        remove(self.path)
        self._fd, self.path, self.version, self.offset, self.gaps = aside
        return True

    def save(self) -> None:
        """Write down the version and the gaps.

        Raises:
            TargetChanged: Somebody took the part file away.
        """
        self._check_ours()
        if self._aside is not None:
            return  # what the sidecar speaks of lies aside
        state = self._state()
        self._settle()
        self._sidecar.write(state)

    def _settle(self) -> None:
        """Bring to the disk what the gaps say is there. Without gaps the size of the file says it, which is safe."""
        if self.gaps is not None:
            self._sync(getattr(os, "fdatasync", os.fsync))

    def _sync(self, sync: Callable[[int], None]) -> None:
        """Bring what was written to the disk. If that fails, the system may have dropped any of it, and will say so
        only once: then nothing of it is believed any more.
        """
        try:
            sync(self._fd)
        except OSError as error:
            self.discard()
            raise self.disk_error(error) from error

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise TargetChanged(f"{self.path!r} was replaced or removed while it was written")

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def set_total(self, total: int | None) -> None:
        """An answer has told how long the file is."""
        if total is not None and self.version.total is None:
            old = self.version
            self.version = Representation(old.etag, old.last_modified, old.dated, total)
            self.save()

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            DiskFull: There is no room. What fitted is kept.
            TargetChanged: Somebody else wrote to it, or cut it.
        """
        self._check_length()
        size = len(data)
        try:
            written = os.write(self._fd, data)
            self.offset += written
            while written < size:  # a nearly full disk takes what it can, and fails the next time
                part = os.write(self._fd, memoryview(data)[written:])
                written += part
                self.offset += part
        except OSError as error:
            raise self.disk_error(error) from error

    def _check_length(self) -> None:
        """Before anything is put behind what is there: behind what was cut off, there would be a hole."""
        size = os.fstat(self._fd).st_size
        if size != self.offset:
            written = self.offset
            self.discard()
            raise TargetChanged(f"{self.path!r} has {size} bytes, and {written} were written to it")

    def disk_error(self, error: OSError) -> Exception:
        """DiskFull for what says so; else the error as it is."""
        kept = self.kept
        return disk_error(error, self.path, kept, self.version.validator is not None and kept > 0)

    def open_again(self) -> int:
        """Another descriptor of the same file, for a thread that writes elsewhere in it."""
        fd, about = open_regular(self.path, os.O_RDWR)
        if not os.path.samestat(about, os.fstat(self._fd)):
            os.close(fd)
            self._check_ours()
        return fd

    def reader(self) -> Any:
        """A binary file to read what is there; closing it leaves the part file open."""
        return open(os.dup(self._fd), "rb", buffering=0)

    def finish(self, *, overwrite: bool) -> None:
        """Put the file in its place: onto the disk first, then under its name.

        Raises:
            TargetExists: Something has come there in the meantime. The part file stays, but is put in no place before
                the server was asked again: who knows what it is when that place is free.
            TargetChanged: The part file is not the one that was written, or not as long.
        """
        self._check_length()
        mode = mode_of(self.target) if overwrite else None
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(self._fd, mode)
        self._sync(os.fsync)
        self._check_ours()
        try:
            put_in_place(self.path, self.target, overwrite=overwrite)
        except TargetExists:
            self._came_late = True
            raise
        os.close(self._fd)
        self._fd = -1
        if self._aside is not None:
            os.close(self._aside.fd)
            remove(self._aside.path)
            self._aside = None
        self._sidecar.remove()
        sync_folder(os.path.dirname(self.target) or ".")

    def discard(self) -> None:
        """What is there is wrong: remove it. What was laid aside may be right still."""
        if not self.fall_back():
            self.version, self.offset, self.gaps = Representation(), 0, None

    def release(self) -> None:
        """Let go of it, so that another download can go on with it. Nothing is left if nothing is worth keeping."""
        try:
            self.fall_back()
            self._release()
        except OSError:
            pass  # the folder is gone or the disk is broken, which whatever ended the download says better

    def _release(self) -> None:
        if self._fd < 0 and not os.path.exists(self._sidecar.path):
            return  # finished
        if self._fd < 0 and self._found:  # nothing was begun: leave what an earlier download had
            self._sidecar.write({**self._found, "owner": None})
            return
        if self._fd >= 0 and self.kept:
            try:
                self._settle()
            except (OSError, DiskFull):
                pass  # and nothing is kept any more
        worth = self.kept > 0 and self.version.validator is not None
        ours = self._fd < 0 or self._is_ours()
        state = self._state(released=True)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if not ours:  # what has the name now is somebody else's, and so is the sidecar, unless it still names us
            if (self._sidecar.read() or {}).get("owner") == owner():
                self._sidecar.remove()
            return
        if worth and self._private:
            worth = self._give_usual_name()
        if worth:
            self._sidecar.write(state)
            return
        if self.kept and not self._private:
            # It cannot be gone on with, but it is the user's: "the partial file stays unless it is proven wrong".
            self._sidecar.remove()
            return
        remove(self.path)
        self._sidecar.remove()

    def _claim(self) -> dict[str, Any] | None:
        """Become the owner of the usual names: what the last one left, empty if nothing; None if somebody lives."""
        found = self._sidecar.claim(self.path)
        if found is None:
            return None
        if _is_stuck(self.path):
            self._sidecar.remove()
            return None
        sweep(self._stem)
        return found or take_over(self._stem, self.path, lambda state: is_of(self._key, state) is not None)

    def _give_usual_name(self) -> bool:
        usual = Sidecar(f"{self._stem}.part.json")
        if not usual.create(self._state()):
            return False  # somebody is at it, or has left something: leave it alone
        own, self._sidecar = self._sidecar, usual
        os.replace(self.path, f"{self._stem}.part")
        self.path = f"{self._stem}.part"
        own.remove()
        return True

    def _state(self, released: bool = False) -> dict[str, Any]:
        version = self.version
        state: dict[str, Any] = {
            **self._key,
            "etag": version.etag,
            "last_modified": version.last_modified,
            "dated": version.dated,
            "total": version.total,
            "owner": None if released else owner(),
        }
        if self.gaps is not None:
            state["gaps"] = [list(gap) for gap in self.gaps]  # they go on changing
        if self._came_late:
            state["late"] = True
        return state


def _is_stuck(path: str) -> bool:
    """Whether something is there that only another user may take away, as in ``/tmp``."""
    try:
        about, folder = os.lstat(path), os.stat(os.path.dirname(path) or ".")
    except OSError:
        return False
    user = getattr(os, "geteuid", None)
    if user is None or not folder.st_mode & stat.S_ISVTX:
        return False
    return user() not in (0, about.st_uid, folder.st_uid)
