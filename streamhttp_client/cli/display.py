"""Live progress on a terminal, and readable lines everywhere else."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from ..display import Unit, describe, duration, printable
from ..progress import Progress

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Display", "make_display", "printable"]

# A log is read by people: more than a line a second is noise.
_LINE_INTERVAL = 1.0
# The terminal itself writes "^C" where the bar ends; beyond the last column that would begin another line.
_ECHO = 3
_BAR = 30
# Columns; a shorter bar says nothing, and of a name at least so much is worth more than a bar.
_LEAST_BAR = 8
_SHORT_LABEL = 16


class Display:
    """Prints one line at the beginning, about one a second, and one at the end. A context manager.

    :meth:`update` fits ``on_progress``. Threads may share a display.

    Args:
        stream: Where to.
        label: What is going on; precedes each line.
        unit: ``"bytes"`` shows sizes as KiB, MiB, GiB.
        clock: Seconds from any fixed point; injected by tests.
    """

    def __init__(
        self, stream: IO[str], label: str = "", unit: Unit = "", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._label = label
        self._unit: Unit = unit
        self._clock = clock
        self._lock = threading.Lock()  # one line at a time
        self._began = self._next = clock()
        self._latest: Progress | None = None
        self._shown: Progress | None = None
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended = True
            if _said(self._latest) != _said(self._shown):  # how far it came, also when it failed
                self._show()

    def update(self, progress: Progress) -> None:
        """Show how far it has come."""
        with self._lock:
            self._latest = progress
            now = self._clock()
            if now >= self._next:
                self._next = now + _LINE_INTERVAL
                self._show()

    def note(self, text: str) -> None:
        """Say something in a line of its own."""
        with self._lock:
            self._line(printable(text))

    def _show(self) -> None:
        assert self._latest is not None
        self._shown = self._latest
        self._line(": ".join(filter(None, (self._label, self._words(self._latest)))))

    def _words(self, progress: Progress) -> str:
        return describe(progress, self._unit, ended=self._ended)

    def _line(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:
            # Whoever reads our output may have seen enough. That nobody reads the progress ends no call.
            if self._stream is sys.stdout:
                raise


def _said(progress: Progress | None) -> tuple[object, ...] | None:
    """What of a progress is worth another line; that it became slower meanwhile is not."""
    return None if progress is None else (progress.progress, progress.total, progress.message, progress.state)


class Quiet(Display):
    """Shows nothing."""

    def _line(self, text: str) -> None:
        pass


class LiveDisplay(Display):
    """A bar that moves, on a terminal, with notes scrolling above it. Needs rich."""

    def __init__(self, stream: IO[str], label: str = "", unit: Unit = "") -> None:
        super().__init__(stream, label, unit)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._live = Live(console=self._console, refresh_per_second=10, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._live.transient = self._latest is None  # a call that reported nothing leaves nothing behind
        self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show how far it has come, at the next of ten refreshes a second."""
        self._latest = progress

    def _line(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text))

    def _render(self) -> Any:
        from rich.constrain import Constrain
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1))
        progress = self._latest
        width = self._console.width - _ECHO
        if progress is None:
            row.add_row(Text(self._label or "waiting"), Text(duration(self._clock() - self._began)))
        else:
            # The numbers are what is looked for: on a narrow terminal the others make room, the message first.
            words = Text(self._words(progress), overflow="ellipsis", no_wrap=True)
            message = Text(printable(" ".join((progress.message or "").split())))
            needed = words.cell_len - message.cell_len + 1
            room = width - needed
            if room - _LEAST_BAR >= _SHORT_LABEL:
                room -= _LEAST_BAR + 1
            label = Text(self._label)
            label.truncate(max(room, _SHORT_LABEL // 2), overflow="ellipsis")
            cells: list[Any] = [label] if self._label else []
            room = width - needed - label.cell_len - 1
            if progress.fraction is not None and room >= _LEAST_BAR:
                cells.append(ProgressBar(100.0, 100.0 * progress.fraction, width=min(room, _BAR)))
            row.add_row(*cells, words)
        return Constrain(row, width)


def make_display(stream: IO[str] | None = None, *, label: str = "", unit: Unit = "", quiet: bool = False) -> Display:
    """The display that suits a stream: live if it is a terminal that can move its cursor, and rich is installed.

    Args:
        stream: stderr if None.
        label: What is going on.
        unit: ``"bytes"`` for transfers.
        quiet: Show nothing.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        return Quiet(stream)
    # As rich has it: a dumb terminal shows what it prints at the end, and nothing before.
    moves = stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    if moves and importlib.util.find_spec("rich") is not None:
        return LiveDisplay(stream, label, unit)
    return Display(stream, label, unit)
