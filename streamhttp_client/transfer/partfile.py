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
from typing import Any, NamedTuple

from .._headers import check_field
from ..exceptions import DiskFull, LocalProtocolError, TargetChanged, TargetExists
from .names import name_beside
from .ranges import Representation
from .sidecar import Sidecar, address_key, is_ours, open_regular, owner, remove
from .strays import sweep, take_over, tidy

__all__ = ["PartFile", "check_target"]

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def check_target(path: str, overwrite: bool) -> None:
    """Raise what would be raised at the end, before anything was fetched.

    Raises:
        TargetExists: Something is there, be it a dangling symbolic link, and ``overwrite`` is False.
        IsADirectoryError, FileNotFoundError, NotADirectoryError, PermissionError: No file can be put there.
    """
    folder = os.path.dirname(path) or "."
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
    if os.path.isdir(path) and not os.path.islink(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not overwrite and os.path.lexists(path):
        tidy(path)
        raise TargetExists(f"the target {path!r} exists; pass overwrite=True to replace it")


class _Aside(NamedTuple):
    """What was there before something that nothing vouches for began to come."""

    fd: int
    path: str
    version: Representation
    offset: int
    gaps: list[list[int]] | None


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
        self._aside: _Aside | None = None
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
        elif resume:
            self._adopt(found)

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
        mode = self._mode_of_target()
        # We must be able to open it again, whatever the mode in the end.
        mode = 0o666 if mode is None else mode | 0o600
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
        if lay_aside:
            self._aside = _Aside(self._fd, self.path, self.version, self.offset, self.gaps)
            self.path = draft
        self._fd = fd
        self.offset, self.version, self.gaps = 0, version, None
        if not lay_aside:
            os.replace(draft, self.path)
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
        if self.gaps is None:
            return
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)
        except OSError as error:
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
        """
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

    def disk_error(self, error: OSError) -> Exception:
        """DiskFull for what says so; else the error as it is."""
        if error.errno not in _FULL:
            return error
        kept = self.kept
        resumable = self.version.validator is not None and kept > 0
        text = f"no room for {self.path!r} after {kept} bytes: {error.strerror}"
        return DiskFull(text, bytes_kept=kept, resumable=resumable)

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
            TargetExists: Something has come there in the meantime. The part file stays.
            TargetChanged: The part file is not the one that was written, or not as long.
        """
        size = os.fstat(self._fd).st_size
        if size != self.offset:
            written = self.offset
            self.discard()
            raise TargetChanged(f"{self.path!r} has {size} bytes, and {written} were written to it")
        mode = self._mode_of_target() if overwrite else None
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(self._fd, mode)
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self.disk_error(error) from error
        self._check_ours()
        if overwrite:
            os.replace(self.path, self.target)
        else:
            self._link()
        os.close(self._fd)
        self._fd = -1
        if self._aside is not None:
            os.close(self._aside.fd)
            remove(self._aside.path)
            self._aside = None
        self._sidecar.remove()
        _sync_folder(os.path.dirname(self.target) or ".")

    def _mode_of_target(self) -> int | None:
        """The permissions of the file that is to be replaced: what was private stays so. None if there is none."""
        try:
            about = os.lstat(self.target)
        except OSError:
            return None
        return stat.S_IMODE(about.st_mode) & 0o777 if stat.S_ISREG(about.st_mode) else None

    def _link(self) -> None:
        """Rename, unless something has the name: a plain rename would replace it."""
        try:
            os.link(self.path, self.target, follow_symlinks=False)
        except FileExistsError:
            pass
        except (OSError, NotImplementedError):  # a file system without hard links
            if not os.path.lexists(self.target):
                os.replace(self.path, self.target)
                return
        else:
            os.unlink(self.path)
            return
        raise TargetExists(
            f"the target {self.target!r} has come to exist meanwhile; pass overwrite=True to replace it",
            bytes_kept=self.kept,
            resumable=self.version.validator is not None,
        )

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
        worth = self.kept > 0 and self.version.validator is not None
        ours = self._fd < 0 or self._is_ours()
        state = self._state(released=True)
        if self._fd >= 0:
            if worth:
                self._settle()
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
        return found or take_over(self._stem, self.path, lambda state: self._is_of_us(state) is not None)

    def _is_of_us(self, state: dict[str, Any]) -> bool | None:
        """True for a part of this address, False for one whose address differs in its query, None for any other."""
        if state.get("key") == self._key["key"]:
            return True
        return False if state.get("url") == self._key["url"] else None

    def _adopt(self, state: dict[str, Any]) -> None:
        """Go on with what is there, if it is what the sidecar says, of this address, and can be resumed at all."""
        sure = self._is_of_us(state)
        if sure is None:
            return
        etag, modified, total = state.get("etag"), state.get("last_modified"), state.get("total")
        for value, kind in ((etag, str), (modified, str), (total, int)):
            if value is not None and type(value) is not kind:
                return
        version = Representation(etag, modified, state.get("dated") is True, total)
        if version.validator is None:
            return
        if not sure and (version.strong_etag is None or not total):
            return
        try:
            check_field("if-range", version.validator)
            fd, about = open_regular(self.path, os.O_RDWR)
        except (LocalProtocolError, OSError):
            return
        gaps = _checked_gaps(state.get("gaps"), total)
        fits = about.st_size > 0 and (total is None or about.st_size <= total)
        if gaps is not None and total is not None:
            # All that is no gap must be there.
            fits = fits and about.st_size >= _end_of_data(gaps, total)
        # Of another user, it holds what he likes; under a second name, writing changes what that one stands for, be it
        # the target itself, if the process was killed while the file got its name.
        fits = fits and is_ours(about) and about.st_nlink == 1
        if not fits or ("gaps" in state and gaps is None):
            os.close(fd)
            return
        self._fd, self.version, self.gaps = fd, version, gaps or None
        self.offset = os.lseek(fd, 0, os.SEEK_END)
        if not sure and self.offset == total:
            # Under another query it may be another file: an answer has to say that it is not. One byte brings one.
            os.ftruncate(fd, total - 1)
            self.offset = os.lseek(fd, 0, os.SEEK_END)

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
        return state


def _checked_gaps(value: Any, total: int | None) -> list[list[int]] | None:
    """Gaps as a sidecar had them: ascending, apart, within the file; None if they are not."""
    if not isinstance(value, list) or total is None:
        return None
    at = 0
    for gap in value:
        if not isinstance(gap, list) or len(gap) != 2 or not all(type(place) is int for place in gap):
            return None
        if not at <= gap[0] < gap[1] <= total:
            return None
        at = gap[1]
    return value


def _end_of_data(gaps: list[list[int]], total: int) -> int:
    """The byte after the last one that is in no gap."""
    end = total
    for start, stop in reversed(gaps):
        if stop != end:
            break
        end = start
    return end


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


def _sync_folder(folder: str) -> None:
    """Make a rename last through a power failure, where folders can be opened."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)
