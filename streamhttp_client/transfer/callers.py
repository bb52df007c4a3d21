"""Errors of the caller's own code, while a transfer runs: of a callback, of the source of an upload.

They may be any: callbacks call other services and write to files, and a source may be read from the network. So below
they would be taken for an error of this connection, or of this disk, and the transfer would be tried again. Here they
go out as what nobody below looks at, and come out as they were raised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..progress import OnProgress, Progress
from .pace import Reporter

__all__ = ["asked", "report_to"]

_T = TypeVar("_T")


class _OfCaller(BaseException):
    """What the caller's code raised, on its way out."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def asked(function: Callable[[], _T]) -> _T:
    """Call a function of the caller's, within :func:`report_to`."""
    try:
        return function()
    except BaseException as error:
        raise _OfCaller(error) from error


def report_to(on_progress: OnProgress | None, work: Callable[[Reporter], _T]) -> _T:
    """Do some work that reports. Whatever code of the caller's raises ends it, and comes out as it was raised."""
    report: OnProgress | None = None
    if on_progress is not None:
        call = on_progress

        def report(progress: Progress) -> object:
            return asked(lambda: call(progress))

    reporter = Reporter(report)
    try:
        return work(reporter)
    except _OfCaller as passed:
        error = passed.error
    # Not in the "except", which would become its context.
    try:
        if isinstance(error, Exception):
            reporter.stop()  # as of any other failure; says nothing if it was the callback that failed
    except _OfCaller as passed:
        error = passed.error
    try:
        raise error
    finally:
        del error  # or it would hold itself through this frame
