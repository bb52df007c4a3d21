"""``streamhttp demo``: it breaks what it says, and it would notice a loss."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client.cli import demo
from streamhttp_client.cli.cutter import Cut
from streamhttp_client.cli.demo import Outcome, run_demo
from streamhttp_client.cli.display import Display
from streamhttp_client.exceptions import ResumeRefused
from streamhttp_client.server import MemoryStore
from tests.cli.conftest import PATIENCE, Ran, start
from tests.transport._faults import nothing_left

CUTS = (Cut(1, 2, "reset"), Cut(2, 3, "closed"))


def test_every_event_arrives_though_the_connection_is_cut() -> None:
    """Each number arrives once and in order; each cut tore an event in the middle of the call, and was resumed from."""
    out = io.StringIO()
    with nothing_left():
        outcome = run_demo(60, 7, 1.0, Display(out))
    assert outcome.sent == outcome.received == tuple(range(1, 61))
    assert outcome.reported == 60
    assert outcome.complete
    assert [cut.event for cut in outcome.cuts] == [8, 15, 22, 30, 38, 45, 52]
    assert [cut.how for cut in outcome.cuts] == ["reset", "closed"] * 3 + ["reset"]
    assert outcome.resumed >= 7
    assert "cut 7: reset in the middle of event 52" in out.getvalue()


def test_a_torn_first_event() -> None:
    """With as many cuts as there are events but one, nearly every event is torn, the first one too."""
    outcome = run_demo(6, 5, 0.1, Display(io.StringIO()))
    assert outcome.complete
    assert [cut.event for cut in outcome.cuts] == [1, 2, 3, 4, 5]


def test_a_server_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server cannot keep the events that a cut swallowed, the demo fails instead of hiding it."""
    monkeypatch.setattr(
        "streamhttp_client.server.MemoryStore", lambda **_: MemoryStore(max_log_events=2)
    )
    with pytest.raises(ResumeRefused):
        run_demo(400, 3, 1.0, Display(io.StringIO()))


@pytest.mark.parametrize(
    ("received", "reported", "missing", "duplicates"),
    [
        ((1, 2, 4), 4, 1, 0),
        ((1, 2, 2, 3, 4), 4, 0, 1),
        ((1, 3, 2, 4), 4, 0, 0),
        ((1, 2, 3, 4), None, 0, 0),
        ((1, 2, 3, 4), 3, 0, 0),
        ((), 4, 4, 0),
    ],
)
def test_what_counts_as_incomplete(
    received: tuple[int, ...], reported: int | None, missing: int, duplicates: int
) -> None:
    """A missing, repeated or misplaced event, and a result that does not fit, are all failures."""
    outcome = Outcome((1, 2, 3, 4), received, reported, CUTS, 2, 1.0)
    assert not outcome.complete
    assert (outcome.missing, outcome.duplicates) == (missing, duplicates)


@pytest.mark.parametrize(
    ("outcome", "status", "word"),
    [
        (Outcome((1, 2, 3), (1, 2, 3), 3, CUTS, 2, 1.0), 0, "once and in order"),
        (Outcome((1, 2, 3), (1, 3), 3, CUTS, 2, 1.0), 1, "not what was sent"),
        (Outcome((1, 2, 3), (1, 2, 3), 3, CUTS[:1], 2, 1.0), 1, "2 cuts were asked for"),
        (Outcome((1, 2, 3), (1, 2, 3), 3, CUTS, 1, 1.0), 1, "resumed from"),
    ],
)
def test_the_exit_status_follows_the_outcome(
    streamhttp: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, outcome: Outcome, status: int, word: str
) -> None:
    """0 only if nothing was lost and all cuts happened."""
    monkeypatch.setattr(demo, "run_demo", lambda *_: outcome)
    ran = streamhttp("demo", "--events", "3", "--cuts", "2")
    assert ran.status == status
    assert word in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cuts", "200"),
        ("--cuts", "-1"),
        ("--events", "0"),
        ("--events", "x"),
        ("--seconds", "0"),
        ("--seconds", "nan"),
    ],
)
def test_impossible_demos_are_refused(streamhttp: Callable[..., Ran], arguments: tuple[str, ...]) -> None:
    """What cannot be shown is said before anything starts, with status 2."""
    ran = streamhttp("demo", *arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err


def test_the_demo_as_users_run_it() -> None:
    """Redirected to a file it prints plain lines, one for each cut, and the sums at the end."""
    child = start("demo", "--events", "40", "--cuts", "3", "--seconds", "0.8")
    try:
        out, err = child.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        raise
    assert (child.returncode, err) == (0, "")
    assert "\x1b" not in out and "\r" not in out
    assert len(re.findall(r"^  cut \d: (?:reset|closed) in the middle of event \d+$", out, re.MULTILINE)) == 3
    sums: dict[str, Any] = dict(re.findall(r"^  ([a-z ]+?) {2,}([\d.]+)", out, re.MULTILINE))
    assert {name: sums[name] for name in ("events sent", "events received", "duplicates", "missing")} == {
        "events sent": "40",
        "events received": "40",
        "duplicates": "0",
        "missing": "0",
    }
    assert sums["connections cut"] == "3"
    assert int(sums["times resumed"]) >= 3
    assert float(sums["seconds"]) < PATIENCE
    assert out.endswith("Every event arrived once and in order.\n")
