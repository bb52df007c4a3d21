"""What a download keeps, what it takes for the same file another day, and what it leaves behind when it is killed."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import random
import re
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client.exceptions import (
    DigestMismatch,
    DiskFull,
    SizeMismatch,
    TargetExists,
    TransferInterrupted,
    TransferRefused,
)
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.progress import Progress
from streamhttp_client.transfer import strays
from streamhttp_client.transfer.download import download
from streamhttp_client.transfer.partfile import PartFile
from streamhttp_client.transfer.ranges import Representation
from streamhttp_client.transfer.sidecar import Sidecar, owner
from tests.support.rawserver import Peer, Request
from tests.transfer.fileserver import Answer, FileServer, answer, cut
from tests.transfer.peers import spawn
from tests.transfer.test_download import DATA, QUICK, fetch, leftovers

PORTAL = b"<html>pay</html>\r\n"
LARGE = random.Random(4).randbytes(4 << 20)
ONCE = RetryPolicy(attempts=1)


def portal(*, length: int | None = None) -> Answer:
    """A page that somebody on the way put in the place of the file: 200, no validator; cut if it names more."""

    def script(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Type": "text/html", "Content-Length": str(length or len(PORTAL))})
        peer.send(PORTAL)
        if length:
            peer.cut()

    return script


def slow_page(peer: Peer, request: Request) -> None:
    """A page that takes longer than the time between two reports."""
    peer.send_head(200, {"Content-Type": "text/html", "Content-Length": str(len(PORTAL))})
    peer.send(PORTAL[:5])
    threading.Event().wait(0.25)
    peer.send(PORTAL[5:])


def begun(server: FileServer, dest: Path, **options: Any) -> None:
    """Fetch the beginning of the file and be cut."""
    with pytest.raises(TransferInterrupted):
        fetch(server, dest, retry=ONCE, **options)


# -- a part stays until the new file is whole


def test_a_part_outlives_a_page_that_breaks_off(tmp_path: Path) -> None:
    """The whole that nothing vouched for was not whole: the next attempt goes on with the part."""
    seen: list[Progress] = []
    with FileServer(DATA, cut(50_000), portal(length=100)) as server:
        result = fetch(server, tmp_path / "x", on_progress=seen.append)
        assert [request.header("Range") for request in server.requests] == [None, "bytes=50000-", "bytes=50000-"]
    assert (result.restarts, result.attempts) == (1, 3) and (tmp_path / "x").read_bytes() == DATA
    assert leftovers(tmp_path) == ["x"] and seen[-1].progress == len(DATA)


def test_a_part_outlives_pages_that_all_break_off(tmp_path: Path) -> None:
    """They bring nothing, so they count; in the end the part is there as it was."""
    with FileServer(DATA, cut(50_000)) as server:
        begun(server, tmp_path / "x")
        before = (tmp_path / "x.part").read_bytes()
        server.answers = [portal(length=100)] * 9
        with pytest.raises(TransferInterrupted) as caught:
            fetch(server, tmp_path / "x")
        assert (caught.value.bytes_kept, caught.value.resumable, caught.value.attempts) == (50_000, True, 3)
        assert leftovers(tmp_path) == ["x.part", "x.part.json"] and (tmp_path / "x.part").read_bytes() == before
        server.answers = []
        assert fetch(server, tmp_path / "x").resumed_from == 50_000
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_part_outlives_a_page_that_is_not_what_was_wanted(tmp_path: Path) -> None:
    """A wrong digest or size condemns what came, and not what was there."""
    wanted = "sha256:" + hashlib.sha256(DATA).hexdigest()
    with FileServer(DATA, cut(50_000)) as server:
        begun(server, tmp_path / "x")
        server.answers = [portal()]
        with pytest.raises(DigestMismatch) as wrong:
            fetch(server, tmp_path / "x", digest=wanted)
        server.answers = [portal()]
        with pytest.raises(SizeMismatch) as short:
            fetch(server, tmp_path / "x", expected_size=len(DATA))
        assert wrong.value.bytes_kept == short.value.bytes_kept == 50_000
        assert wrong.value.resumable and short.value.resumable
        result = fetch(server, tmp_path / "x", digest=wanted)
    assert result.resumed_from == 50_000 and result.verified and leftovers(tmp_path) == ["x"]


def test_a_part_outlives_a_page_for_which_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def full(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if re.search(r"x\.part\.[0-9a-f]{8}$", os.fspath(path)):
            raise OSError(28, "No space left on device", path)
        return real(path, flags, *rest, **more)

    with FileServer(DATA, cut(50_000)) as server:
        begun(server, tmp_path / "x")
        server.answers = [portal()]
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", full)
            with pytest.raises(DiskFull) as caught:
                fetch(server, tmp_path / "x")
        assert (caught.value.bytes_kept, caught.value.resumable) == (50_000, True)
        assert fetch(server, tmp_path / "x").resumed_from == 50_000


def test_a_disk_without_room_for_anything_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for the sidecar, before the first byte: said in the same words, and nothing was asked for."""
    real = os.open

    def full(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device", path)
        return real(path, flags, *rest, **more)

    with FileServer(DATA) as server:
        monkeypatch.setattr(os, "open", full)
        with pytest.raises(DiskFull, match="no room for .*x' after 0 bytes: No space left") as caught:
            fetch(server, tmp_path / "x")
        assert server.accepted == 0
    assert (caught.value.bytes_kept, caught.value.resumable) == (0, False)
    assert leftovers(tmp_path) == []


def test_a_server_whose_word_is_not_obeyed_is_asked_again(tmp_path: Path) -> None:
    """``max_server_wait=0`` is about Retry-After; the time between our own attempts is no reason to give up."""
    with FileServer(DATA, *[answer(500)] * 3) as server:
        fetch(server, tmp_path / "x", retry=RetryPolicy(base=0.001, max_server_wait=0))
        assert len(server.requests) == 4


def test_a_part_outlives_an_exception_while_a_page_comes(tmp_path: Path) -> None:
    def stop(report: Progress) -> None:
        if report.state == "restarted":
            raise KeyError

    with FileServer(DATA, cut(50_000)) as server:
        begun(server, tmp_path / "x")
        server.answers = [slow_page]
        with pytest.raises(KeyError):
            fetch(server, tmp_path / "x", on_progress=stop)
        assert fetch(server, tmp_path / "x").resumed_from == 50_000
    assert leftovers(tmp_path) == ["x"]


def test_a_whole_answer_without_a_validator_takes_the_place_of_the_part(tmp_path: Path) -> None:
    """It may be the file, after a change to the server: once it is whole, it is believed."""
    other = DATA[::-1]
    with FileServer(DATA, cut(50_000)) as server:
        begun(server, tmp_path / "x")
        server.data, server.etag = other, None
        result = fetch(server, tmp_path / "x")
    assert (result.resumed_from, result.restarts) == (0, 1)
    assert (tmp_path / "x").read_bytes() == other and leftovers(tmp_path) == ["x"]


def test_a_part_outlives_the_death_of_the_process_while_a_page_comes(tmp_path: Path) -> None:
    """SIGKILL then: the part, its sidecar and a draft are there; the part is gone on with, the draft grows old."""
    code = """
        import sys, threading
        from streamhttp_client.transfer.download import download
        def report(p):
            if p.state == "restarted":
                print("page", flush=True)
                threading.Event().wait()
        download(sys.argv[1], sys.argv[2], on_progress=report)
    """
    with FileServer(DATA, cut(50_000)) as server:
        begun(server, tmp_path / "x")
        server.answers = [slow_page]
        process = spawn(code, server.url, str(tmp_path / "x"))
        assert process.stdout is not None and process.stdout.readline() == b"page\n"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        assert fetch(server, tmp_path / "x").resumed_from == 50_000
    assert (tmp_path / "x").read_bytes() == DATA


def test_parts_of_segments_outlive_a_page(tmp_path: Path) -> None:
    """One thread gets it in place of its range; the others' bytes are kept, and the page is not taken for the file."""
    with FileServer(LARGE, cut_after=300_000) as server:
        with pytest.raises(TransferInterrupted) as caught:
            fetch(server, tmp_path / "x", segments=3, retry=ONCE)
        kept = caught.value.bytes_kept
        server.cut_after = None
        server.answers = [portal(length=100)] * 9
        with pytest.raises(TransferInterrupted) as again:
            fetch(server, tmp_path / "x", segments=3)
        assert again.value.bytes_kept == kept > 0
        server.answers = []
        result = fetch(server, tmp_path / "x", segments=3)
    assert result.resumed_from == kept and (tmp_path / "x").read_bytes() == LARGE


def test_segments_of_a_server_that_has_lost_its_validators_end_whole(tmp_path: Path) -> None:
    with FileServer(LARGE, cut_after=300_000) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", segments=3, retry=ONCE)
        server.cut_after, server.data, server.etag = None, LARGE[::-1], None
        assert fetch(server, tmp_path / "x", segments=3).resumed_from == 0
    assert (tmp_path / "x").read_bytes() == LARGE[::-1] and leftovers(tmp_path) == ["x"]


def test_a_part_that_turns_up_in_pieces_only_is_asked_for_in_pieces(tmp_path: Path) -> None:
    """A page to one range, then the file itself: its gaps are filled, and not all of it is fetched again."""
    with FileServer(LARGE, cut_after=300_000) as server:
        with pytest.raises(TransferInterrupted) as caught:
            fetch(server, tmp_path / "x", segments=3, retry=ONCE)
        server.cut_after = None
        server.answers = [portal()]
        result = fetch(server, tmp_path / "x", retry=RetryPolicy(attempts=5, base=0))
    assert result.resumed_from == caught.value.bytes_kept and result.restarts == 0
    assert (tmp_path / "x").read_bytes() == LARGE


# -- the same file under another query


def signed(server: FileServer, dest: Path, query: str, **options: Any) -> Any:
    options.setdefault("retry", QUICK)
    return download(f"{server.url}?{query}", dest, **options)


def test_a_link_that_was_signed_again_is_gone_on_with(tmp_path: Path) -> None:
    """The path, the strong entity tag and the size are the same; no query gets into the sidecar."""
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            signed(server, tmp_path / "x", "sig=secret1&expires=5", retry=ONCE)
        assert "secret1" not in (tmp_path / "x.part.json").read_text()
        result = signed(server, tmp_path / "x", "sig=secret2&expires=6")
        assert server.requests[-1].header("If-Range") == '"v1"'
    assert result.resumed_from == 30_000 and (tmp_path / "x").read_bytes() == DATA


def test_a_whole_part_of_another_query_is_asked_about(tmp_path: Path) -> None:
    """One byte is asked for again: under the same query, none is."""
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            signed(server, tmp_path / "x", "sig=1", retry=ONCE)
        (tmp_path / "x.part").write_bytes(DATA)
        result = signed(server, tmp_path / "x", "sig=2")
        assert server.requests[-1].header("Range") == f"bytes={len(DATA) - 1}-"
    assert result.resumed_from == len(DATA) - 1 and (tmp_path / "x").read_bytes() == DATA


def test_gaps_are_filled_under_another_query(tmp_path: Path) -> None:
    """The last byte may be there while others are missing: it stays, and the tag of each range tells."""
    path = tmp_path / "x.part.json"
    with FileServer(LARGE, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            signed(server, tmp_path / "x", "sig=1", retry=ONCE)
        path.write_text(json.dumps({**json.loads(path.read_text()), "gaps": [[1_000_000, 3_000_000]]}))
        (tmp_path / "x.part").write_bytes(LARGE[:1_000_000] + bytes(2_000_000) + LARGE[3_000_000:])
        result = signed(server, tmp_path / "x", "sig=2")
    assert result.resumed_from == len(LARGE) - 2_000_000 and (tmp_path / "x").read_bytes() == LARGE


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("size", [len(DATA), len(DATA) - 7])
def test_another_file_under_another_query_is_fetched_whole(tmp_path: Path, whole: bool, size: int) -> None:
    """``?id=1`` and ``?id=2``: the tag differs, or the size does."""
    other = DATA[::-1][:size]
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            signed(server, tmp_path / "x", "id=1", retry=ONCE)
        if whole:
            (tmp_path / "x.part").write_bytes(DATA)
        server.data, server.etag = other, '"v2"' if size == len(DATA) else '"v1"'
        result = signed(server, tmp_path / "x", "id=2")
    assert result.resumed_from == 0 and (tmp_path / "x").read_bytes() == other


@pytest.mark.parametrize(("etag", "total"), [(None, len(DATA)), ('"v1"', None)])
def test_a_query_counts_where_nothing_strong_tells(tmp_path: Path, etag: str | None, total: int | None) -> None:
    """A date, or a tag without a size, tells versions of one address apart, and no more."""
    part = PartFile(str(tmp_path / "x"), "http://example.org/f?id=1", resume=True)
    part.begin(Representation(etag, "Mon, 01 Jan 2024 00:00:00 GMT", True, total))
    part.write(DATA[:100])
    part.release()
    for query, kept in (("?id=2", 0), ("?id=1", 100)):
        part = PartFile(str(tmp_path / "x"), f"http://example.org/f{query}", resume=True)
        assert part.kept == kept
        part.release()


# -- files that are compressed themselves

PACKED = gzip.compress(LARGE[:200_000], mtime=0)


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize(
    ("dest", "headers"),
    [
        ("a.tar.gz", {"Content-Type": "application/x-tar"}),
        ("a", {"Content-Type": "application/x-gzip"}),
        ("a", {"Content-Disposition": "attachment; filename=a.tgz"}),
    ],
)
def test_a_compressed_file_stays_so(tmp_path: Path, dest: str, headers: dict[str, str], session: bool) -> None:
    """As Apache's AddEncoding serves it; it resumes, and the published digest fits, through a session too."""
    published = "sha256:" + hashlib.sha256(PACKED).hexdigest()
    with FileServer(PACKED, cut(50_000)) as server, requests.Session() as http:
        server.headers = {"Content-Encoding": "x-gzip", **headers}
        result = fetch(server, tmp_path / dest, digest=published, http=http if session else None)
    assert (result.attempts, result.restarts, result.total) == (2, 0, len(PACKED))
    assert (tmp_path / dest).read_bytes() == PACKED


def test_segments_of_a_compressed_file(tmp_path: Path) -> None:
    with FileServer(LARGE) as server:
        server.headers = {"Content-Encoding": "gzip"}
        result = fetch(server, tmp_path / "a.gz", segments=3)
    assert (tmp_path / "a.gz").read_bytes() == LARGE and result.attempts >= 3


def test_the_name_that_counts_may_be_behind_a_redirect(tmp_path: Path) -> None:
    def elsewhere(peer: Peer, request: Request) -> None:
        peer.respond(302, headers={"Location": "/v1/a-1.0.tar.gz"})

    with FileServer(PACKED, elsewhere) as server:
        server.headers = {"Content-Encoding": "gzip"}
        fetch(server, tmp_path / "latest")
    assert (tmp_path / "latest").read_bytes() == PACKED


# -- what is left behind, and long names


def test_a_name_as_long_as_can_be_is_no_hindrance(tmp_path: Path) -> None:
    """The names beside it are shortened; two that begin alike stay apart; a cut is gone on from."""
    names = ["ä" * 120 + "1" * 15, "ä" * 120 + "1" * 14 + "2"]
    assert [len(name.encode()) for name in names] == [255, 255]
    with FileServer(DATA) as server:
        for name in names:
            server.answers = [cut(30_000)]
            begun(server, tmp_path / name)
        assert len(leftovers(tmp_path)) == 4
        for name in names:
            assert fetch(server, tmp_path / name).resumed_from == 30_000
    assert leftovers(tmp_path) == sorted(names)


DRAFTS = ["x.part.0a1b2c3d", "x.part.json.0a1b2c3d", "x.0a1b2c3d.part.json.0a1b2c3d", "x.0a1b2c3d.part.00000000"]


def test_old_drafts_of_killed_downloads_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Young ones may be somebody's, and what only looks like one is nobody's of ours."""
    others = ["x.part.nothexad", "x.party.0a1b2c3d", "xx.part.0a1b2c3d", "x.part.0a1b2c3d4"]
    for name in DRAFTS + others:
        (tmp_path / name).write_bytes(b"left")
    with FileServer(DATA) as server:
        fetch(server, tmp_path / "x")
        assert leftovers(tmp_path) == sorted([*DRAFTS, *others, "x"])
        later = time.time() + 301
        monkeypatch.setattr(strays.time, "time", lambda: later)
        fetch(server, tmp_path / "x", overwrite=True)
    assert leftovers(tmp_path) == sorted([*others, "x"])


def dead() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": 1}


@pytest.mark.parametrize("alive", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_what_a_process_left_that_was_killed_at_the_last_moment_goes(tmp_path: Path, linked: bool, alive: bool) -> None:
    """Between the link and the unlink, or between the rename and the end of the sidecar."""
    (tmp_path / "x").write_bytes(DATA)
    if linked:
        os.link(tmp_path / "x", tmp_path / "x.part")
    Sidecar(str(tmp_path / "x.part.json")).write({"key": "k", "owner": owner() if alive else dead()})
    before = leftovers(tmp_path)
    with FileServer(DATA) as server, pytest.raises(TargetExists):
        fetch(server, tmp_path / "x")
    assert leftovers(tmp_path) == (before if alive else ["x"]) and (tmp_path / "x").read_bytes() == DATA


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("left", ["sidecar", "folder", "part"])
def test_what_another_user_put_in_a_shared_folder_is_no_hindrance(left: str) -> None:
    """As in /tmp, where nobody may take away what is not his own."""
    code = """
        import os, sys
        from streamhttp_client import RetryPolicy, download
        import netrc, tenacity  # this user may not read where they lie
        os.setuid(65534)
        print(download(sys.argv[1], sys.argv[2], retry=RetryPolicy(base=0)).bytes)
    """
    with tempfile.TemporaryDirectory() as name, FileServer(DATA, cut(30_000)) as server:
        os.chmod(name, 0o1777)
        place = Path(name, "x.part" if left == "part" else "x.part.json")
        place.mkdir() if left == "folder" else place.write_text("{}")
        process = spawn(code, server.url, f"{name}/x")
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, b"102400\n")
        assert leftovers(Path(name)) == ["x", place.name] and Path(name, "x").read_bytes() == DATA


def test_the_part_of_another_download_stays_beside_a_file_that_exists(tmp_path: Path) -> None:
    with FileServer(DATA, cut(30_000)) as server:
        begun(server, tmp_path / "x")
        (tmp_path / "x").write_bytes(b"old")
        with pytest.raises(TargetExists):
            fetch(server, tmp_path / "x")
        assert fetch(server, tmp_path / "x", overwrite=True).resumed_from == 30_000


# -- several at once


def test_of_several_that_claim_at_once_one_succeeds(tmp_path: Path) -> None:
    """Threads that start together, over what a dead process left, many times: never two owners of one part."""
    path = str(tmp_path / "x.part.json")
    count, together = 8, threading.Barrier(8)

    def claim(_: int) -> dict[str, Any] | None:
        together.wait(10)
        return Sidecar(path).claim(str(tmp_path / "x.part"))

    with ThreadPoolExecutor(count) as pool:
        for turn in range(60):
            Sidecar(path).write({"key": str(turn), "owner": dead()})
            claimed = [found for found in pool.map(claim, range(count)) if found is not None]
            assert len(claimed) <= 1
            os.unlink(path)
    assert leftovers(tmp_path) == []


WORKER = """
    import sys
    from streamhttp_client import RetryPolicy, download
    print("ready", flush=True)
    sys.stdin.readline()
    download(sys.argv[1], sys.argv[2], overwrite=True, segments=int(sys.argv[3]), retry=RetryPolicy(attempts=9, base=0))
"""


@pytest.mark.parametrize("after", [2, 5, 9, 14])
def test_processes_that_share_a_target_and_are_killed_never_spoil_it(tmp_path: Path, after: int) -> None:
    """Four write to one target, two of them are killed in the middle: the others end well, and the file is right."""
    reached = threading.Event()
    target = tmp_path / "x"

    class Counting(FileServer):
        def serve(self, peer: Peer, request: Request, cut_after: int | None = None) -> None:
            if len(self.requests) >= after:
                reached.set()
            super().serve(peer, request, cut_after)

    with Counting(LARGE, cut_after=900_000) as server:
        workers = [
            spawn(WORKER, server.url, str(target), str(1 + index % 2), stdin=subprocess.PIPE) for index in range(4)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None and worker.stdout.readline() == b"ready\n"
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write(b"\n")
                worker.stdin.flush()
            assert reached.wait(30)
            for worker in workers[1:3]:
                worker.kill()
            statuses = [worker.wait(60) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        assert [statuses[0], statuses[3]] == [0, 0] and target.read_bytes() == LARGE
        fetch(server, target, overwrite=True, retry=RetryPolicy(attempts=9, base=0))
    assert target.read_bytes() == LARGE
    assert {name for name in leftovers(tmp_path) if not name.startswith("x.")} == {"x"}


SACRIFICE = """
    import os, signal, sys
    from streamhttp_client import RetryPolicy, download
    import streamhttp_client.transfer.segments, streamhttp_client.transfer.strays
    url, folder, overwrite, segments = sys.argv[1], sys.argv[2], sys.argv[3] == "True", int(sys.argv[4])
    def deadly(call):
        def instead(*what, **how):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*what, **how)
        return instead
    for number in range(1, 80):
        if not os.fork():
            left = number
            for name in ("open", "write", "replace", "rename", "link", "unlink", "fsync", "fdatasync", "close"):
                setattr(os, name, deadly(getattr(os, name)))
            dest = os.path.join(folder, str(number), "x")
            download(url, dest, overwrite=overwrite, segments=segments, retry=RetryPolicy(attempts=9, base=0))
            os._exit(7)
        if os.waitstatus_to_exitcode(os.wait()[1]) == 7:
            break
    print(number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process for each of its calls of the system")
@pytest.mark.parametrize(("overwrite", "segments"), [(False, 1), (True, 1), (True, 2)])
def test_a_process_that_is_killed_before_any_call_of_the_system_does_no_harm(
    tmp_path: Path, overwrite: bool, segments: int
) -> None:
    """SIGKILL before the first one, the second one, and so on: there is the old file or the new one, nothing between,
    and the next process has it whole.
    """
    data = DATA if segments == 1 else LARGE
    for number in range(1, 80):
        (tmp_path / str(number)).mkdir()
        if overwrite:
            (tmp_path / str(number) / "x").write_bytes(b"old")
    with FileServer(data, cut_after=len(data) * 2 // 3) as server:
        process = spawn(SACRIFICE, server.url, str(tmp_path), str(overwrite), str(segments))
        output, _ = process.communicate(timeout=60)
        count = int(output)
        assert 15 < count < 79  # it came to its end in the last of them
        for number in range(1, count + 1):
            target = tmp_path / str(number) / "x"
            there = target.read_bytes() if target.exists() else None
            assert there in (data, b"old" if overwrite else None)
            if there != data:
                fetch(server, target, overwrite=overwrite)
            assert target.read_bytes() == data


# -- a first and a last report


def test_a_download_that_is_refused_is_told_of_at_both_ends(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with FileServer(DATA, answer(404), answer(404)) as server:
        for dest in (tmp_path / "x", tmp_path):
            seen.clear()
            with pytest.raises(TransferRefused):
                fetch(server, dest, on_progress=seen.append)
            assert [(report.progress, report.state) for report in seen] == [(0, "running")] * 2


def test_a_download_into_a_folder_begins_with_what_is_there(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with FileServer(DATA, cut(30_000)) as server:
        begun(server, tmp_path)
        fetch(server, tmp_path, on_progress=seen.append)
    assert seen[0].progress == 30_000 and seen[-1].state == "done"


def test_restarts_are_told_at_most_ten_times_a_second(tmp_path: Path) -> None:
    """A server without validators whose answers break off, thirty times in a moment."""
    seen: list[Progress] = []
    with FileServer(DATA, cut_after=5000, etag=None) as server, pytest.raises(TransferInterrupted):
        fetch(server, tmp_path / "x", on_progress=seen.append, retry=RetryPolicy(attempts=30, base=0))
        assert len(server.requests) == 30
    assert len(seen) < 10


# -- a disk without room


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="POSIX")
@pytest.mark.parametrize("segments", [1, 3])
def test_a_disk_that_fills_up_while_a_sidecar_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: int
) -> None:
    """No room for a draft, nor for the next byte: the sidecar is written in its old place, and says what is there."""
    real_open, real_write = os.open, os.write
    full = threading.Event()

    def open_(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if full.is_set() and flags & os.O_CREAT:
            raise OSError(28, "No space left on device", path)
        return real_open(path, flags, *rest, **more)

    def write(fd: int, data: Any) -> int:
        if full.is_set():
            raise OSError(28, "No space left on device")
        count = real_write(fd, memoryview(data)[:100_000])
        if os.path.exists(tmp_path / "x.part") and os.stat(tmp_path / "x.part").st_blocks * 512 > 1 << 20:
            full.set()
        return count

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "write", write)
    with FileServer(LARGE) as server:
        with pytest.raises(DiskFull) as caught:
            fetch(server, tmp_path / "x", segments=segments)
        assert caught.value.resumable and caught.value.bytes_kept > 0
        state = json.loads((tmp_path / "x.part.json").read_text())
        assert state["owner"] is None and leftovers(tmp_path) == ["x.part", "x.part.json"]
        monkeypatch.undo()
        result = fetch(server, tmp_path / "x")
    assert result.resumed_from == caught.value.bytes_kept and (tmp_path / "x").read_bytes() == LARGE


@pytest.mark.parametrize("segments", [1, 2])
def test_nothing_is_believed_that_did_not_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: int
) -> None:
    """A failed fsync is told once, and the system may have dropped what it was about: the next one succeeds."""
    fail = iter([True])

    def fsync(fd: int) -> None:
        if stat.S_ISREG((about := os.fstat(fd)).st_mode) and about.st_size > 0 and next(fail, False):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    if segments > 1:
        monkeypatch.setattr(os, "fdatasync", fsync)
    with FileServer(LARGE) as server:
        with pytest.raises(OSError, match="Input/output"):
            fetch(server, tmp_path / "x", segments=segments)
        assert leftovers(tmp_path) == []
        assert fetch(server, tmp_path / "x", segments=segments).resumed_from == 0
    assert (tmp_path / "x").read_bytes() == LARGE


def test_a_disk_that_is_full_when_a_part_is_let_go_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended the download is raised, and the claim is given up with what did not reach the disk."""
    part = PartFile(str(tmp_path / "x"), "http://example.org/f", resume=True)
    part.begin(Representation('"v1"', None, False, 100))
    part.write(bytes(50))
    part.gaps = [[50, 100]]

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    part.release()
    assert leftovers(tmp_path) == []
