"""Live progress on a terminal, and readable lines everywhere else."""

from __future__ import annotations

import importlib.util
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
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
        self._line(": ".join(filter(None, (self._label, describe(self._latest, self._unit)))))

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

        self._live = Live(console=Console(file=stream), refresh_per_second=10, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.transient = self._latest is None  # a call that reported nothing leaves nothing behind
        self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show how far it has come, at the next of ten refreshes a second."""
        self._latest = progress

    def _line(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text(text))

    def _render(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1))
        progress = self._latest
        if progress is None:
            row.add_row(Text(self._label or "waiting"), Text(duration(self._clock() - self._began)))
            return row
        cells: list[Any] = [Text(self._label)] if self._label else []
        if progress.fraction is not None:
            cells.append(ProgressBar(100.0, 100.0 * progress.fraction, width=30))
        cells.append(Text(describe(progress, self._unit), overflow="ellipsis", no_wrap=True))
        row.add_row(*cells)
        return row


def make_display(
    stream: IO[str] | None = None, *, label: str = "", unit: Unit = "", quiet: bool = False
) -> Display:
    """The display that suits a stream: live if it is a terminal and rich is installed.

    Args:
        stream: stderr if None.
        label: What is going on.
        unit: ``"bytes"`` for transfers.
        quiet: Show nothing.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        return Quiet(stream)
    if stream.isatty() and importlib.util.find_spec("rich") is not None:
        return LiveDisplay(stream, label, unit)
    return Display(stream, label, unit)
