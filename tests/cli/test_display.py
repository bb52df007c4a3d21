"""What is shown while something runs."""

from __future__ import annotations

import io
import math
import re

import pytest

from streamhttp_client import Progress
from streamhttp_client.cli.display import Display, LiveDisplay, Quiet, make_display
from streamhttp_client.display import amount, describe, duration, printable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_once_a_second() -> None:
    """The first count is shown at once, then one a second, and the last one in any case."""
    out, clock = io.StringIO(), Clock()
    with Display(out, "work", clock=clock) as display:
        for step in range(1, 31):
            display.update(Progress(step, 30))
            clock.now += 0.125
    shown = [line.split()[1] for line in out.getvalue().splitlines()]
    assert shown == ["1/30", "9/30", "17/30", "25/30", "30/30"]


def test_the_end_is_not_shown_twice() -> None:
    """A count that was just shown is not shown again at the end."""
    out = io.StringIO()
    with Display(out, clock=Clock()) as display:
        display.update(Progress(1, 1))
        display.update(Progress(1, 1, rate=0.5))
    assert out.getvalue() == "1/1 (100 %)\n"


def test_a_display_without_progress_is_silent() -> None:
    """Nothing happened, so nothing is said."""
    out = io.StringIO()
    with Display(out, "work"):
        pass
    assert out.getvalue() == ""


def test_at_the_end_no_time_is_left() -> None:
    """The last line says how far it came; how long it would take is over if it failed."""
    out = io.StringIO()
    with Display(out, clock=Clock()) as display:
        display.update(Progress(1, 4))
        display.update(Progress(2, 4, None, 0.5, 4.0))
    assert out.getvalue() == "1/4 (25 %)\n2/4 (50 %), 0.5/s\n"


def test_notes_are_lines_of_their_own() -> None:
    """And they cannot steer a terminal."""
    out = io.StringIO()
    with Display(out) as display:
        display.note("a\x1b[2Jb")
    assert out.getvalue() == "a\N{REPLACEMENT CHARACTER}[2Jb\n"


@pytest.mark.parametrize(
    ("progress", "unit", "text"),
    [
        (Progress(3), "", "3"),
        (Progress(3, 12), "", "3/12 (25 %)"),
        (Progress(3, 12, "reading\n a  file"), "", "3/12 (25 %): reading a file"),
        (Progress(3, 12, None, 1.5, 6.0), "", "3/12 (25 %), 1.5/s, 6 s left"),
        (Progress(12, 12, None, 1.5, 0.0), "", "12/12 (100 %), 1.5/s"),
        (Progress(3, 12, None, None, None, 4), "", "3/12 (25 %), attempt 4"),
        (Progress(2048, 4096, None, 1024.0, 2.0), "bytes", "2.0 KiB/4.0 KiB (50 %), 1.0 KiB/s, 2 s left"),
        (Progress(0, 10, None, None, None, 2, "restarted"), "", "0/10 (0 %), started again, attempt 2"),
        (Progress(1, None, "\x9b31m"), "", "1: \N{REPLACEMENT CHARACTER}31m"),
        (Progress(1, 0), "", "1/0"),
        (Progress(0, None, "digging"), "", "digging"),
        (Progress(0, None, "digging", 0.0, None, 2), "", "attempt 2: digging"),
        (Progress(0, None), "", "0"),
    ],
)
def test_progress_in_words(progress: Progress, unit: str, text: str) -> None:
    """Only what is known is said."""
    assert describe(progress, unit) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "", "0"),
        (0.25, "", "0.25"),
        (123.4, "", "123"),
        (1e6, "", "1000000"),
        (1e30, "", "1e+30"),
        (math.inf, "", "inf"),
        (0, "bytes", "0 B"),
        (1023, "bytes", "1023 B"),
        (1536, "bytes", "1.5 KiB"),
        (5 << 20, "bytes", "5.0 MiB"),
        (3 << 40, "bytes", "3072.0 GiB"),
    ],
)
def test_amounts(value: float, unit: str, text: str) -> None:
    """Counts are whole where they can be; sizes have units of 1024."""
    assert amount(value, unit) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
    + [(1e30, "over 100 days")],
)
def test_durations(seconds: float, text: str) -> None:
    """Two units are enough."""
    assert duration(seconds) == text


def test_printable_keeps_text() -> None:
    """Letters of any script, tabs and line feeds stay."""
    assert printable("Größe\t日本\n") == "Größe\t日本\n"


def test_a_file_gets_lines_and_a_terminal_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar needs rich and a terminal; without one of them there are lines."""
    assert type(make_display(io.StringIO())) is Display
    assert type(make_display(Terminal())) is LiveDisplay
    assert type(make_display(Terminal(), quiet=True)) is Quiet
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert type(make_display(Terminal())) is Display


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot draw a bar in place: with one, nothing would be seen before the end."""
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_display(Terminal())) is Display


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_a_narrow_terminal_shows_the_numbers(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """The bar, and then the label, make room for what is looked for. "^C" has room behind all."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    display = LiveDisplay(Terminal(), "archive-of-november.tar.gz", "bytes")
    display.update(Progress(5 << 20, 16 << 20, None, 2 << 20, 6.0))
    with display._console.capture() as captured:
        display._console.print(display._render())
    (line,) = ANSI.sub("", captured.get()).splitlines()
    assert len(line) <= columns - len("^C")
    words = "5.0 MiB/16.0 MiB (31 %), 2.0 MiB/s, 6 s left"
    assert (words[:19] in line) == (columns >= 40)
    assert (words in line) == (columns >= 60)
    assert ("━" in line) == (columns >= 80)


def test_a_long_message_is_cut_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes and goes, and must not move the bar nor take the name away."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    display = LiveDisplay(Terminal(), "crunch")
    lines = []
    for message in (None, "m" * 200):
        display.update(Progress(1, 4, message))
        with display._console.capture() as captured:
            display._console.print(display._render())
        (line,) = ANSI.sub("", captured.get()).splitlines()
        lines.append(line)
    assert lines[0].rstrip().startswith("crunch ━") and lines[0].rstrip().endswith(" 1/4 (25 %)")
    assert lines[1].startswith(lines[0].rstrip() + ": mm") and lines[1].rstrip().endswith("m…")


def test_the_bar() -> None:
    """On a terminal the bar is drawn in place, and notes stand above it; markup from elsewhere is only text."""
    out = Terminal()
    with LiveDisplay(out, "work [bold]") as display:
        display.note("a note [red]")
        display.update(Progress(1, 2, "half [blink]"))
    text = out.getvalue()
    assert "a note [red]" in text
    assert "work [bold]" in text
    assert "━" in text
    assert "1/2 (50 %): half [blink]" in text


def test_the_bar_without_a_total() -> None:
    """There is no bar then, only the count; and before the first count, how long it has been."""
    out = Terminal()
    with LiveDisplay(out, "work") as display:
        display._live.refresh()
        display.update(Progress(7))
    assert "work 0 s" in out.getvalue()
    assert "work 7" in out.getvalue()
    assert "━" not in out.getvalue()


def test_the_bar_of_a_call_without_progress_is_wiped_out() -> None:
    """Nothing was reported, so nothing is left on the terminal."""
    out = Terminal()
    with LiveDisplay(out, "work"):
        pass
    assert out.getvalue().endswith("\x1b[2K")  # erases the line


def test_a_quiet_display_says_nothing() -> None:
    """Neither progress nor notes."""
    out = io.StringIO()
    with make_display(out, quiet=True) as display:
        display.update(Progress(1))
        display.note("x")
    assert out.getvalue() == ""
