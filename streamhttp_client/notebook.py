"""Live progress under the cell of a notebook.

::

    from streamhttp_client.notebook import ProgressBar

    with ProgressBar("crunch") as bar:
        result = client.call_tool("crunch", {"rows": 10_000}, on_progress=bar)

It works wherever IPython shows HTML (JupyterLab, Notebook, VS Code, Colab), updates one output in place, and needs no
widgets. Without IPython it prints a line about once a second to stderr.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from .display import Unit, describe
from .progress import Progress

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ProgressBar"]

# Seconds between two updates. Each is a message to the browser; ten a second look alive.
_LIVE_INTERVAL = 0.1
_LINE_INTERVAL = 1.0
_ROW = "display: flex; align-items: center; gap: 0.5em; white-space: nowrap"
_COLOURS = {"running": "", "done": "", "failed": "; accent-color: #c62828"}


class ProgressBar:
    """An ``on_progress`` that shows what it is given. For one call or transfer, on the thread that makes it.

    As a context manager it also shows the last count, however fast it came, and whether the block failed.

    Args:
        label: What is going on.
        unit: ``"bytes"`` shows sizes, for downloads and uploads.
        clock: Seconds from any fixed point; injected by tests.
    """

    def __init__(self, label: str = "", *, unit: Unit = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._unit: Unit = unit
        self._clock = clock
        self._latest: Progress | None = None
        self._state: Literal["running", "done", "failed"] = "running"
        self._due = clock()
        self._stale = False
        self._handle: Any = None

    def __call__(self, progress: Progress) -> None:
        """Show a count, unless one was shown a moment ago; the last one, if it says that it is that, always."""
        self._latest = progress
        self._stale = True
        if self._clock() >= self._due or progress.state == "done" or progress.fraction == 1:
            self._show()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state = "done" if error is None else "failed"
        latest = self._latest
        if latest is None:
            return
        # A bar that stands at its end says all there is to say.
        if self._stale or error is not None or self._handle is not None and latest.fraction != 1:
            self._show()

    def __repr__(self) -> str:
        """The state in one line."""
        return ": ".join(filter(None, (self._label, self._said())))

    def _said(self) -> str:
        failed = self._state == "failed"
        said = "waiting" if self._latest is None else describe(self._latest, self._unit, ended=failed)
        return f"{said}, failed" if failed else said

    def _repr_html_(self) -> str:
        """The state as HTML; IPython asks for it. All text is escaped, since servers write some of it."""
        fraction = None if self._latest is None else self._latest.fraction
        # A bar without a value moves from side to side, which says "working" and nothing more.
        value = "" if fraction is None and self._state == "running" else f' value="{fraction or 0:.4f}"'
        if fraction is None and self._state == "done":
            value = ' value="1"'
        # One line whatever is said: what is below must not jump. The bar has what the texts leave, and when that is too
        # little they are cut, and whole under the mouse.
        bar = f'<progress max="1"{value} style="flex: 1 0 4em; max-width: 20em{_COLOURS[self._state]}"></progress>'
        label, words = _cut(self._label, "flex: none; max-width: 30%"), _cut(self._said(), "flex: 0 1 auto")
        return f'<div style="{_ROW}">{label}{bar}{words}</div>'

    def _show(self) -> None:
        self._stale = False
        display = _ipython_display()
        if display is None:
            self._due = self._clock() + _LINE_INTERVAL
            print(repr(self), file=sys.stderr, flush=True)
            return
        self._due = self._clock() + _LIVE_INTERVAL
        if self._handle is None:
            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)


def _cut(text: str, style: str) -> str:
    """A text as HTML that is cut where there is no room for it."""
    if not text:
        return ""
    escaped = html.escape(text)
    return f'<span title="{escaped}" style="overflow: hidden; text-overflow: ellipsis; {style}">{escaped}</span>'


def _ipython_display() -> Any:
    """IPython's ``display`` if this runs in IPython, else None. Who runs in it has imported it, so nobody waits."""
    ipython: Any = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return None
    return import_module("IPython.display").display
