"""``progress=True``: a tqdm bar, as text in a terminal and as a widget in a notebook (extra ``[progress]``).

A notebook without ipywidgets shows the text.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Literal

from ..exceptions import LocalProtocolError, MissingExtra
from ..progress import OnProgress, Progress

__all__ = ["chosen"]

Shown = Callable[[str], "AbstractContextManager[OnProgress | None]"]


def chosen(on_progress: OnProgress | None, progress: bool | Literal["always"]) -> Shown:
    """A function that opens the bar under a title and gives what to call; it fails before anything was sent.

    Args:
        on_progress: The caller's own callback; called too.
        progress: False for no bar; True for one in a notebook and on a terminal, and nothing elsewhere; ``"always"``
            for one in any case.

    Raises:
        LocalProtocolError: An argument is none of these.
        MissingExtra: tqdm is not installed.
    """
    if on_progress is not None and not callable(on_progress):
        raise LocalProtocolError(f"on_progress must be callable, got {type(on_progress).__name__}")
    if progress not in (True, False, "always"):
        raise LocalProtocolError(f"progress must be True, False or 'always', got {progress!r}")
    make_bar = _bar_class() if progress else None
    wanted = make_bar is not None and (progress == "always" or _in_kernel() or _is_terminal())

    @contextlib.contextmanager
    def shown(title: str) -> Iterator[OnProgress | None]:
        if make_bar is None or not wanted:
            yield on_progress
            return
        bar = make_bar(unit="B", unit_scale=True, unit_divisor=1024, desc=title or None)
        try:
            yield lambda report: _show(bar, report, on_progress)
        finally:
            bar.close()

    return shown


def _show(bar: Any, report: Progress, on_progress: OnProgress | None) -> None:
    if report.state == "restarted" or (report.total is not None and bar.total != report.total):
        began = getattr(bar, "start_t", None)
        bar.reset(total=report.total)  # setting bar.total would leave the widget where it is
        if began is not None and report.state != "restarted":
            bar.start_t = began  # a total that is known only at the end does not make it the beginning
    bar.update(report.progress - bar.n)
    if report.state == "done":
        bar.refresh()
    if on_progress is not None:
        on_progress(report)


def _bar_class() -> Any:
    try:
        return import_module("tqdm.notebook" if _in_kernel() and _has_widgets() else "tqdm").tqdm
    except ImportError:
        raise MissingExtra("progress=True", "progress") from None


def _in_kernel() -> bool:
    """Whether this is a Jupyter kernel, whose output is no terminal and yet looked at."""
    ipython: Any = sys.modules.get("IPython")  # who runs in it has imported it
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _has_widgets() -> bool:
    import importlib.util  # nobody else needs it

    return importlib.util.find_spec("ipywidgets") is not None


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stderr at all, or a closed one
        return False
