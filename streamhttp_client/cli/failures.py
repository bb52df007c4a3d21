"""What a failure is called on the command line, and which exit status it gets."""

from __future__ import annotations

__all__ = [
    "CommandFailed",
    "FAILED",
    "INTERRUPTED",
    "TERMINATED",
    "Terminated",
    "UNREACHABLE",
    "USAGE",
    "describe",
    "exit_status",
]

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM came, from ``timeout``, a supervisor or a shutdown: to be taken as Ctrl-C is."""


class CommandFailed(Exception):
    """A command found its own words for what went wrong.

    Attributes:
        status: The exit status.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def exit_status(error: BaseException) -> int:
    """The exit status for an error that ended a command."""
    if isinstance(error, CommandFailed):
        return error.status
    if isinstance(error, KeyboardInterrupt):
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    from .. import exceptions

    if isinstance(error, exceptions.TransferError) and isinstance(error.__cause__, exceptions.ConnectionFailed):
        return UNREACHABLE  # as if it were said without the transfer around it
    # The order matters: a refused transfer is an HTTPStatusError and a TransferError, a missing capability a
    # LocalProtocolError.
    ranked: tuple[tuple[type[BaseException], int], ...] = (
        (exceptions.HTTPStatusError, UNREACHABLE),
        (exceptions.TransferError, FAILED),
        (exceptions.CapabilityError, FAILED),
        (exceptions.LocalProtocolError, USAGE),
        (exceptions.ConnectionFailed, UNREACHABLE),
        (exceptions.UnsupportedVersion, UNREACHABLE),
        (exceptions.ContentTypeError, UNREACHABLE),
    )
    return next((status for kind, status in ranked if isinstance(error, kind)), FAILED)


def describe(error: BaseException) -> str:
    """One line for people. Errors of this package and of the system speak for themselves; others say their class."""
    from ..exceptions import AuthenticationError, StreamHTTPError
    from .display import printable

    if isinstance(error, KeyboardInterrupt):
        return "terminated" if isinstance(error, Terminated) else "interrupted"
    text = printable(" ".join(str(error).split()))
    if isinstance(error, OSError):  # its words say more than its number
        text = text.removeprefix(f"[Errno {error.errno}] ").removeprefix(f"[WinError {getattr(error, 'winerror', 0)}] ")
    if isinstance(error, AuthenticationError):
        text += " (--auth, --header, or $STREAMHTTP_TOKEN)"
    if isinstance(error, (CommandFailed, StreamHTTPError, OSError)) and text:
        return text
    return f"unexpected {type(error).__name__}: {text} (-v shows where)"
