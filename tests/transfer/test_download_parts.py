"""The pure parts of a transfer: names, digests, answers to ranges, speed, progress, the bar."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.exceptions import LocalProtocolError, MissingExtra
from streamhttp_client.progress import Progress
from streamhttp_client.transfer import flow, progressbar, sidecar
from streamhttp_client.transfer.digests import Digester, dump_digest_field, parse_digest, parse_digest_field
from streamhttp_client.transfer.names import name_for, safe_name
from streamhttp_client.transfer.pace import RateLimit, Reporter, SpeedWatch
from streamhttp_client.transfer.ranges import Representation, judge, parse_content_range, represented
from streamhttp_client.transfer.sidecar import Sidecar
from streamhttp_client.transfer.tus_values import is_past
from tests.transfer.fileserver import LONG_AGO


class Clock:
    """Time that only moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# -- names


@given(st.text())
def test_any_name_becomes_one_harmless_component(name: str) -> None:
    safe = safe_name(name)
    if safe:
        assert "/" not in safe and "\\" not in safe and "\0" not in safe and safe.isprintable()
        assert safe == safe.strip() and not safe.startswith((".", "-")) and not safe.endswith((".part", ".part.json"))
        assert len(f"{safe}.12345678.part.json.12345678".encode("utf-8", "replace")) <= 255
        assert safe_name(safe) == safe


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_content_disposition_gives_a_name(field: str) -> None:
    assert name_for(field, "http://example.org/a/b") and "/" not in name_for(field, "http://example.org/")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (None, "b c"),
        ("attachment", "b c"),
        ("attachment;filename=plain.txt", "plain.txt"),
        ('attachment; filename="semi;colon.txt"', "semi;colon.txt"),
        ('attachment; filename="never closed.txt', "never closed.txt"),
        ('attachment; filename="', "b c"),
        ('attachment; FILENAME="quo\\"te.txt"', "quo_te.txt"),
        ("attachment; filename=a%20b.txt", "a b.txt"),
        ("attachment; filename*=iso-8859-1'en'%A3%20rates", "£ rates"),
        ("attachment; filename*=koi8-r''x; filename=fallback", "fallback"),
        ("attachment; filename*=UTF-8''", "b c"),
        ("attachment; filename=\u00c3\u00bc.txt", "ü.txt"),
        ('attachment; filename="CON .txt"', "_CON .txt"),
        ('attachment; filename="com\xb9"', "_com\xb9"),
        ("attachment; filename=CONIN$", "_CONIN$"),
        ("attachment; filename=CONSOLE.txt", "CONSOLE.txt"),
        ("attachment; filename=-rf", "_-rf"),
        ("attachment; filename=\u00fc.txt", "ü.txt"),
    ],
)
def test_a_name_is_read_as_it_was_meant(field: str | None, name: str) -> None:
    assert name_for(field, "https://example.org/a/b%20c?d=/e") == name


def test_an_address_without_a_name() -> None:
    assert name_for(None, "https://example.org/") == name_for(None, "https://example.org/..") == "download"


# -- digests


def test_a_digest_is_read_and_written() -> None:
    digits = hashlib.sha256(b"x").hexdigest()
    assert parse_digest(f" SHA256 : {digits.upper()} ") == parse_digest(f"sha-256:{digits}") == ("sha256", digits)
    assert parse_digest(None) is None
    field = dump_digest_field("sha256", digits)
    assert field is not None and parse_digest_field(field) == {"sha256": digits}
    assert dump_digest_field("md5", hashlib.md5(b"x").hexdigest()) is None


@given(st.text())
def test_any_digest_field_is_read_or_ignored(value: str) -> None:
    for name, digits in parse_digest_field(value).items():
        assert len(bytes.fromhex(digits)) == hashlib.new(name).digest_size


@pytest.mark.parametrize("held", [0, 3, 10])
def test_what_was_not_seen_is_read_from_the_file(tmp_path: Path, held: int) -> None:
    """Whatever passed in order counts; gaps, and digests that are wanted late, are read in the end."""
    data = b"0123456789"
    path = tmp_path / "x"
    path.write_bytes(data)
    digester = Digester({"md5": ""})
    digester.update(data[:held], 0)
    digester.want({"sha256": ""})
    digester.update(data[5:], 5)
    with open(path, "rb") as file:
        found = digester.finish(file, len(data))
    assert found == {name: hashlib.new(name, data).hexdigest() for name in ("md5", "sha256")}


# -- ranges


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("bytes 0-9/10", (0, 10, 10)),
        ("bytes 5-9/*", (5, 10, None)),
        ("bytes */10", (None, None, 10)),
        ("bytes=0-9/10", (0, 10, 10)),
    ],
)
def test_a_content_range_is_read(text: str, fields: tuple[int | None, ...]) -> None:
    found = parse_content_range(text)
    assert found is not None and (found.start, found.end, found.total) == fields


@pytest.mark.parametrize(
    "text",
    [None, "", "bytes", "bytes 9-0/10", "bytes 0-10/10", "bytes */*", "bytes -5/10", "lines 0-1/2", "bytes 0-9/+10"],
)
def test_a_content_range_that_contradicts_itself_is_none(text: str | None) -> None:
    assert parse_content_range(text) is None


@pytest.mark.parametrize(
    ("etag", "modified", "date", "validator"),
    [
        ('"a"', None, None, '"a"'),
        ('W/"a"', None, None, None),
        ('W/"a"', "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 01:00:00 GMT", None),
        ("a", None, None, None),
        ('"a b"', None, None, None),
        (None, "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:01 GMT", "Mon, 01 Jan 2024 00:00:00 GMT"),
        (None, "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 GMT", None),
        (None, "Mon, 01 Jan 2024 00:00:00 GMT", None, None),
        (None, "yesterday", "today", None),
    ],
)
def test_only_a_strong_validator_is_one(
    etag: str | None, modified: str | None, date: str | None, validator: str | None
) -> None:
    """RFC 9110, sections 8.8.2.2 and 13.1.5."""
    headers = {"etag": etag, "last-modified": modified, "date": date}
    assert represented({k: v for k, v in headers.items() if v is not None}, 5).validator == validator


@given(
    st.sampled_from([200, 203, 204, 206, 301, 304, 404, 416, 500]),
    st.dictionaries(
        st.sampled_from(
            ["etag", "content-range", "content-length", "content-encoding", "content-type", "transfer-encoding"]
        ),
        st.one_of(
            st.sampled_from(['"v1"', 'W/"v1"', "bytes 5-9/10", "bytes */5", "5", "10", "gzip", "multipart/byteranges"]),
            st.text(max_size=20),
        ),
    ),
    st.integers(0, 20),
    st.one_of(st.none(), st.integers(1, 14)),
    st.sampled_from(
        [
            Representation('"v1"'),
            Representation('"v1"', total=10),
            Representation('W/"v1"', total=10),
            Representation(None, LONG_AGO, True, 10),
            Representation(None, LONG_AGO, True),
            Representation(total=10),
        ]
    ),
)
def test_no_answer_puts_bytes_where_they_do_not_belong(
    status: int, headers: dict[str, str], offset: int, wanted: int | None, have: Representation
) -> None:
    """Whatever is appended begins at the offset, and comes from a place and a version that the answer itself names."""
    end = None if wanted is None else offset + wanted
    if not offset:
        have = Representation()
    verdict = judge(status, headers, have, offset, end)
    if verdict.kind == "append":
        assert verdict.start == offset and verdict.skip >= 0
        assert verdict.end is None or verdict.end > offset
        assert not have.differs(verdict.version)
        if offset:  # a date need not be repeated in a 206
            assert have.validator is not None and verdict.version.etag == have.etag or have.etag is None
        if status == 206:
            place = parse_content_range(headers.get("content-range"))
            assert place is not None and place.start is not None and place.start + verdict.skip == offset
    if verdict.kind == "complete":
        place = parse_content_range(headers.get("content-range"))
        assert status == 416 and place is not None and place.total == offset and end is None
        assert have.total == offset or headers.get("etag") == have.strong_etag is not None
    if status not in (200, 203, 206, 416):
        assert verdict.kind == "refused"


# -- speed


def test_too_slow_is_judged_over_a_window_of_waiting() -> None:
    """1,000 bytes a second over 10 s: a burst carries a pause for a while, and not longer."""
    watch = SpeedWatch((1000, 10))
    assert not watch.too_slow(9.9, 0)
    assert watch.too_slow(0.2, 0)
    watch = SpeedWatch((1000, 10))
    assert not watch.too_slow(1, 20_000)
    assert not any(watch.too_slow(1, 0) for _ in range(9))
    assert any(watch.too_slow(1, 0) for _ in range(2))


@given(st.lists(st.tuples(st.floats(0.001, 2), st.integers(2001, 5000)), max_size=200))
def test_a_link_that_is_fast_enough_is_never_too_slow(reads: list[tuple[float, int]]) -> None:
    """At most 2 s for more than 2,000 bytes is always above 1,000 bytes a second."""
    watch = SpeedWatch((1000, 10))
    assert not any(watch.too_slow(waited, size) for waited, size in reads)


@given(st.lists(st.floats(0.001, 2), min_size=30, max_size=200))
def test_a_link_that_is_too_slow_is_noticed_within_two_windows(waits: list[float]) -> None:
    watch = SpeedWatch((1000, 10))
    total = 0.0
    for waited in waits:
        total += waited
        if watch.too_slow(waited, int(waited * 400)):
            break
    assert total <= 22


def test_no_least_speed_is_no_judgement() -> None:
    watch = SpeedWatch(None)
    assert watch.window is None and not watch.too_slow(1e9, 0)


def test_a_rate_limit_waits_as_long_as_it_takes() -> None:
    """A pause is not made up for, but for a tenth of a second."""
    clock = Clock()
    limit = RateLimit(1000, clock.sleep, clock)
    for _ in range(10):
        limit.passed(100)
    assert clock.now == pytest.approx(1001)
    clock.now += 60
    limit.passed(100)
    assert clock.now == pytest.approx(1061)
    limit.passed(1000)
    assert clock.now == pytest.approx(1062)
    assert limit.piece == 100 and RateLimit(1, clock.sleep, clock).piece == 1
    assert RateLimit(1e6, clock.sleep, clock).piece == 100_000


# -- progress


def test_reports_come_ten_times_a_second_and_never_go_back() -> None:
    clock, seen = Clock(), []
    reporter = Reporter(seen.append, clock)
    reporter.begin(0, 100)
    for done in range(50):
        clock.now += 0.01
        reporter.tick(done)
    assert 5 <= len(seen) <= 6
    clock.now += 1
    reporter.tick(10)
    assert seen[-1].progress == 49
    before = len(seen)
    for _ in range(30):
        reporter.restarted()
        reporter.tick(3)
    assert len(seen) == before
    clock.now += 0.1
    reporter.tick(4)
    assert (seen[-1].progress, seen[-1].state) == (4, "restarted")
    reporter.tick(5)
    reporter.finish(100)
    assert (seen[-1].progress, seen[-1].state, seen[-2].progress) == (100, "done", 4)


def test_a_restart_is_told_however_soon_the_end_comes() -> None:
    """What was said last is never gone back from in silence."""
    for end in ("finish", "stop"):
        seen: list[Progress] = []
        reporter = Reporter(seen.append, Clock())
        reporter.begin(30, 100)
        reporter.restarted()
        reporter.tick(20)
        reporter.finish(20) if end == "finish" else reporter.stop()
        told = [(report.progress, report.state) for report in seen]
        assert told == [(30, "running"), (0, "restarted"), (20, "done" if end == "finish" else "running")]


def test_a_transfer_that_fails_before_anything_is_known_is_told_of_too() -> None:
    seen: list[Progress] = []
    Reporter(seen.append, Clock()).stop()
    assert [(report.progress, report.state) for report in seen] == [(0, "running"), (0, "running")]


def test_a_callback_that_failed_is_not_called_again() -> None:
    calls = []

    def fail(report: Progress) -> None:
        calls.append(report)
        raise KeyError

    reporter = Reporter(fail)
    with pytest.raises(KeyError):
        reporter.begin(0, None)
    reporter.tick(5)
    reporter.stop()
    reporter.finish(5)
    assert len(calls) == 1


@pytest.mark.parametrize("date", [f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0000", "soon"])
def test_a_date_in_no_year_is_no_validator_and_no_error(date: str) -> None:
    """Neither of a file nor of an upload, in no time zone of this machine."""
    assert not represented({"last-modified": date, "date": LONG_AGO}, 1).dated
    assert not represented({"last-modified": LONG_AGO, "date": "soon"}, 1).dated
    assert not is_past(date)


# -- the bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def stderr(stream: Any) -> Iterator[Any]:
    before, sys.stderr = sys.stderr, stream
    try:
        yield stream
    finally:
        sys.stderr = before


def drive(progress: Any) -> list[Progress]:
    seen: list[Progress] = []
    with progressbar.chosen(seen.append, progress)("file.bin") as callback:
        assert callback is not None
        reporter = Reporter(callback)
        reporter.begin(0, 2048)
        reporter.tick(1000)
        reporter.restarted()
        reporter.finish(2048)
    return seen


def test_a_bar_on_a_terminal() -> None:
    """It ends full, and the caller's own callback is called too."""
    pytest.importorskip("tqdm")
    with stderr(Terminal()) as stream:
        seen = drive(True)
    assert "file.bin: 100%" in stream.getvalue() and "2.00k/2.00k" in stream.getvalue()
    assert [report.state for report in seen] == ["running", "restarted", "done"]


@pytest.mark.parametrize(("progress", "shown"), [(True, False), ("always", True), (False, False)])
def test_no_bar_where_nobody_sees_it_unless_asked(progress: Any, shown: bool) -> None:
    if progress:
        pytest.importorskip("tqdm")
    with stderr(io.StringIO()) as stream:
        assert len(drive(progress)) == 3
    assert ("file.bin" in stream.getvalue()) == shown


def test_a_total_that_is_known_at_the_end_does_not_begin_the_bar_again() -> None:
    """How long it took stays true."""
    pytest.importorskip("tqdm")
    made: list[Any] = []

    class Bar(progressbar._bar_class()):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.start_t -= 100
            made.append(self)

    with stderr(Terminal()) as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(progressbar, "_bar_class", lambda: Bar)
        with progressbar.chosen(None, True)("file.bin") as callback:
            assert callback is not None
            callback(Progress(1024))
            callback(Progress(2048, 2048, state="done"))
    assert made[0].format_dict["elapsed"] >= 100 and "[01:4" in stream.getvalue()


def test_a_bar_without_tqdm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(MissingExtra, match=r"streamhttp-client\[progress\]"):
        progressbar.chosen(None, True)
    progressbar.chosen(None, False)


def test_a_closed_standard_error_shows_nothing() -> None:
    pytest.importorskip("tqdm")
    stream = io.StringIO()
    stream.close()
    with stderr(stream):
        assert len(drive(True)) == 3


# -- the sidecar


def test_of_several_that_take_a_sidecar_one_succeeds(tmp_path: Path) -> None:
    place = Sidecar(str(tmp_path / "s"))
    assert place.create({"a": 1}) and not place.create({"a": 2})
    assert place.read() == {"a": 1} and place.take() == {"a": 1} and place.take() is None
    assert list(tmp_path.iterdir()) == []


def test_a_sidecar_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    place = Sidecar(str(tmp_path / "s"))
    assert place.create({"a": 1}) and not place.create({"a": 2}) and place.read() == {"a": 1}


def test_who_is_alive() -> None:
    """This process is, another one with its number is not, and a machine that is not this one is asked by age."""
    me = sidecar.owner()
    assert sidecar.is_alive(me, None)
    assert not sidecar.is_alive({**me, "started": 5}, None)
    assert not sidecar.is_alive({**me, "pid": 2**22 + 1}, None)
    assert not sidecar.is_alive(None, None) and not sidecar.is_alive({"pid": "x"}, None)
    there = {**me, "host": "elsewhere"}
    assert not sidecar.is_alive(there, None) and not sidecar.is_alive(there, 5.0)
    assert sidecar.is_alive(there, time.time())
    assert sidecar.is_alive({"host": me["host"], "pid": os.getppid(), "started": None}, None)


def test_all_threads_of_a_transfer_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that hang take no longer than one; what was never started is not waited for."""
    clock = Clock()
    monkeypatch.setattr(flow, "time", SimpleNamespace(monotonic=clock))

    class Hung(threading.Thread):
        ident = 1

        def join(self, timeout: float | None = None) -> None:
            assert timeout is not None
            clock.now += timeout

    flow.join([Hung() for _ in range(64)])
    flow.join([threading.Thread()])
    assert clock.now == pytest.approx(1005)


def test_what_is_no_option_is_said() -> None:
    with pytest.raises(LocalProtocolError):
        progressbar.chosen(None, "sometimes")  # type: ignore[arg-type]
