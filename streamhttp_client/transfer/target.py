"""The final name of a download: whether a file can be put there, and putting it there, once and whole."""

from __future__ import annotations

import errno
import os
import stat

from ..exceptions import TargetExists
from .strays import tidy

__all__ = ["check_folder", "check_target", "mode_of", "put_in_place", "sync_folder"]


def check_folder(folder: str) -> None:
    """Raise OSError unless files can be made in it."""
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def check_target(path: str, overwrite: bool) -> None:
    """Raise what would be raised at the end, before anything was fetched.

    Raises:
        TargetExists: Something is there, be it a dangling symbolic link, and ``overwrite`` is False.
        OSError: No file can be put there, as ``open`` would say it; also for a name that is too long.
    """
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    check_folder(os.path.dirname(path) or ".")
    if os.path.isdir(path) and not os.path.islink(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    if not overwrite:
        tidy(path)
        raise TargetExists(f"the target {path!r} exists; pass overwrite=True to replace it")


def mode_of(target: str) -> int | None:
    """The permissions of the file that is to be replaced: what was private stays so. None if there is none."""
    try:
        about = os.lstat(target)
    except OSError:
        return None
    return stat.S_IMODE(about.st_mode) & 0o777 if stat.S_ISREG(about.st_mode) else None


def put_in_place(path: str, target: str, *, overwrite: bool) -> None:
    """Give a whole file its name.

    Raises:
        TargetExists: Something has come there in the meantime. The file stays where it was.
    """
    if overwrite:
        os.replace(path, target)
        return
    # Not renamed, which would replace what has the name.
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        pass
    except (OSError, NotImplementedError):  # a file system without hard links
        if not os.path.lexists(target):
            os.replace(path, target)
            return
    else:
        os.unlink(path)
        return
    raise TargetExists(f"the target {target!r} has come to exist meanwhile; pass overwrite=True to replace it")


def sync_folder(folder: str) -> None:
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
