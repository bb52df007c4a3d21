"""``streamhttp get``, ``put`` and ``events``, in this process and as users start them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streamhttp_client.cli import main, transfers
from streamhttp_client.eventsource import reconnecting
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.timeouts import Deadline
from tests.support.rawserver import Peer, RawServer, Request, refusing_port
from tests.transfer.fileserver import FileServer, answer, cut
from tests.transfer.peers import ROOT
from tests.transfer.test_tus import FakeTus
from tests.transfer.test_upload import Receiver

DATA = os.urandom(300_000)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def streamhttp(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        return status, out, err

    return run


# -- get


def test_get_says_where_the_file_is(streamhttp: Run, tmp_path: Path) -> None:
    with FileServer(DATA, cut(100_000)) as server:
        status, out, err = streamhttp("get", server.url)
    assert (status, out) == (0, f"{os.path.join('.', 'file.bin')}\n") and (tmp_path / "file.bin").read_bytes() == DATA
    assert "file.bin" in err and "293" in err  # KiB: how far it came


@pytest.mark.parametrize("command", ["get", "put"])
def test_a_transfer_whose_progress_nobody_reads_goes_on(tmp_path: Path, command: str) -> None:
    """Success means that the file is there; a closed stderr has nothing to do with it."""
    (tmp_path / "y").write_bytes(DATA)
    reader, writer = os.pipe()
    os.close(reader)
    server: RawServer = FileServer(DATA) if command == "get" else Receiver()
    with server:
        url = f"{server.origin}/x"
        arguments = [command, url, "x"] if command == "get" else [command, "y", url]
        done = subprocess.run(
            [sys.executable, "-m", "streamhttp_client", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=writer,
            timeout=30,
        )
        os.close(writer)
        assert done.returncode == 0 and done.stdout.strip()
        assert ((tmp_path / "x").read_bytes() if command == "get" else server.requests[-1].body) == DATA


def test_get_goes_on_when_it_is_run_again(streamhttp: Run, tmp_path: Path) -> None:
    """The first run meets an error that lasts; the second one fetches the rest only. A refusal is status 3, as of any
    other command; what to do is said.
    """
    with FileServer(DATA, cut(100_000), answer(404)) as server:
        status, out, err = streamhttp("get", server.url, "x")
        assert (status, out) == (3, "") and "404" in err and "the same command goes on" in err
        assert streamhttp("get", server.url, "x", "--quiet") == (0, "x\n", "")
        assert server.requests[-1].header("Range") == "bytes=100000-"
    assert (tmp_path / "x").read_bytes() == DATA


def test_get_does_not_replace_a_file_unless_told(streamhttp: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with FileServer(DATA) as server:
        status, _, err = streamhttp("get", server.url, "x")
        assert status == 1 and "exists; --overwrite replaces it" in err and "True" not in err
        assert (tmp_path / "x").read_bytes() == b"mine"
        assert streamhttp("get", server.url, "x", "--overwrite", "--limit", "100m", "-q")[0] == 0
    assert (tmp_path / "x").read_bytes() == DATA


def test_get_checks_a_digest(streamhttp: Run) -> None:
    with FileServer(DATA) as server:
        right = "sha256:" + hashlib.sha256(DATA).hexdigest()
        assert streamhttp("get", server.url, "x", "--digest", right)[0] == 0
        status, _, err = streamhttp("get", server.url, "y", "--digest", "sha256:" + "0" * 64)
        assert status == 1 and "digest" in err
        assert streamhttp("get", server.url, "y", "--digest", "nonsense")[0] == 2


@pytest.mark.parametrize("limit", ["0", "-1", "x", "5q", ""])
def test_a_limit_that_makes_no_sense(streamhttp: Run, limit: str) -> None:
    assert streamhttp("get", "http://127.0.0.1:1/", "--limit", limit)[0] == 2


def test_get_says_that_a_file_may_be_cut_short(streamhttp: Run) -> None:
    def endless(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=False)
        peer.write(DATA)
        peer.cut()

    with FileServer(DATA, endless) as server:
        status, _, err = streamhttp("get", server.url, "x", "-q")
    assert status == 0 and "may be cut short" in err


@pytest.mark.skipif(os.name == "nt", reason="signals cannot be sent to one process on Windows")
@pytest.mark.parametrize(("number", "status", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_get_that_is_interrupted_says_so_and_goes_on(tmp_path: Path, number: str, status: int, word: str) -> None:
    """SIGINT, as Ctrl-C sends it, or SIGTERM, as ``timeout`` does: exit status 130 or 143, and the part stays."""

    def half(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        peer.send(DATA[:100_000])
        part = tmp_path / "x.part"
        for _ in range(1000):
            if part.exists() and part.stat().st_size == 100_000:
                break
            threading.Event().wait(0.01)
        process.send_signal(getattr(signal, number))
        peer.wait_gone()

    command = [sys.executable, "-m", "streamhttp_client", "get"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with FileServer(DATA, half) as server:
        process = subprocess.Popen(
            [*command, server.url, "x"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        _, err = process.communicate(timeout=30)
        assert process.returncode == status and f"{word}; the same command goes on from there" in err
        assert json.loads((tmp_path / "x.part.json").read_text())["owner"] is None
        done = subprocess.run([*command, server.url, "x", "-q"], cwd=tmp_path, env=environment, timeout=30, check=True)
        assert done.returncode == 0
        assert server.requests[1].header("Range") == "bytes=100000-"
    assert (tmp_path / "x").read_bytes() == DATA


# -- put


@pytest.mark.parametrize(("flag", "method"), [((), "PUT"), (("--post",), "POST"), (("--multipart",), "POST")])
def test_put_sends_the_file(streamhttp: Run, tmp_path: Path, flag: tuple[str, ...], method: str) -> None:
    (tmp_path / "x").write_bytes(DATA)
    with Receiver() as server:
        status, out, err = streamhttp("put", "x", server.url, *flag, "--header", "X-Key: k")
        (request,) = server.requests
    assert (status, out) == (0, f"{server.origin}/stored/1\n") and "293" in err
    assert request.method == method and DATA in request.body and request.header("X-Key") == "k"


def test_put_by_tus_goes_on_when_it_is_run_again(streamhttp: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    with FakeTus() as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:100_000]
            peer.respond(400)

        server.on("PATCH", partly)
        assert streamhttp("put", "--tus", "x", server.endpoint)[0] == 3
        status, out, _ = streamhttp("put", "--tus", "x", server.endpoint, "-q")
        assert (status, out) == (0, f"{server.origin}/files/1\n")
        assert bytes(server.uploads["/files/1"]) == DATA
        assert server.seen("PATCH")[1].header("Upload-Offset") == "100000"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


@pytest.mark.parametrize("way", ["--tus", "--post"])
def test_put_that_is_interrupted_says_so_and_goes_on(tmp_path: Path, way: str) -> None:
    """SIGINT in the middle of a body: exit status 130; by tus, the next run sends the rest only, and that is said."""
    data = os.urandom(8 << 20)
    (tmp_path / "x").write_bytes(data)
    command = [sys.executable, "-m", "streamhttp_client", "put", way, "x"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def stall(peer: Peer) -> None:
        """Take a part of the body, keep it, have the client interrupted, and wait until it is gone."""
        if way == "--post":
            peer.read_request(body=False)
        server.early = None
        server.uploads.setdefault("/files/1", bytearray()).extend(peer._read_exactly(1 << 20))
        process.send_signal(signal.SIGINT)
        peer.wait_gone()

    with FakeTus() as server:
        if way == "--tus":
            server.early = stall
        else:
            server.handle = stall  # type: ignore[method-assign]
        process = subprocess.Popen(
            [*command, server.endpoint], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
        assert ("the same command goes on from there" in err) == (way == "--tus")
        if way == "--tus":
            done = subprocess.run([*command, server.endpoint, "-q"], cwd=tmp_path, env=environment, timeout=30)
            assert done.returncode == 0 and bytes(server.uploads["/files/1"]) == data
            assert server.seen("PATCH")[-1].header("Upload-Offset") == str(1 << 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


@pytest.mark.parametrize("command", ["get", "put", "events"])
def test_what_cannot_be_reached_or_refuses_is_one_status_for_all(
    streamhttp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """3, whether nobody is there, the name is unknown, or the server says no; a link that breaks is 1."""
    monkeypatch.setattr(Interrupt, "sleep", lambda self, seconds: None)
    (tmp_path / "y").write_bytes(b"data")

    def run(url: str) -> int:
        rest = {"get": [url, "x"], "put": ["y", url], "events": [url]}[command]
        return streamhttp(command, *rest)[0]

    with refusing_port() as held:
        assert run(f"http://127.0.0.1:{held.getsockname()[1]}/") == 3
    assert run("http://no-such-host.invalid/") == 3
    def refuse(peer: Peer, code: int) -> None:
        while peer.open:
            peer.read_request()
            peer.respond(code)

    for code in (401, 403, 404, 410, 503):
        with RawServer(functools.partial(refuse, code=code)) as server:
            assert run(server.url) == 3
    with RawServer(lambda peer: peer.cut() if peer.read_request() else None) as server:
        assert run(server.url) == 1


def test_put_says_nothing_of_the_query(streamhttp: Run, tmp_path: Path) -> None:
    """A signature in a presigned address does not get into logs; an address that the server gives is shown whole."""
    (tmp_path / "x").write_bytes(b"data")
    with RawServer(lambda peer: peer.respond(200) if peer.read_request() else None) as server:
        assert streamhttp("put", "x", f"{server.origin}/b/k?X-Sig=secret", "-q")[1] == f"{server.origin}/b/k\n"
    location = {"Location": "/stored/1?version=2"}
    with RawServer(lambda peer: peer.respond(201, headers=location) if peer.read_request() else None) as server:
        assert streamhttp("put", "x", f"{server.origin}/b?k=s", "-q")[1] == f"{server.origin}/stored/1?version=2\n"


def test_put_of_nothing(streamhttp: Run) -> None:
    status, _, err = streamhttp("put", "no-such-file", "http://127.0.0.1:1/")
    assert status == 1 and "no-such-file" in err


def test_put_from_standard_input(tmp_path: Path) -> None:
    with Receiver() as server:
        done = subprocess.run(
            [sys.executable, "-m", "streamhttp_client", "put", "-", server.url, "-q"],
            input=DATA,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=30,
            check=True,
        )
        assert done.returncode == 0 and server.requests[0].body == DATA


# -- events


def feed(peer: Peer) -> None:
    request = peer.read_request()
    if request.header("Last-Event-ID") == "2":
        peer.respond(204)
        return
    peer.start_stream(headers={"Connection": "close"})
    peer.write(b"retry: 1\n\n")
    peer.event("one\nline two", id="1")
    peer.event("two\x1b[31m", id="2", event="news")
    peer.end_stream()
    peer.cut()


def test_events_are_printed_until_there_are_no_more(streamhttp: Run) -> None:
    with RawServer(feed) as server:
        status, out, _ = streamhttp("events", server.url)
    assert status == 0 and out.splitlines()[:2] == ["one", "line two"]
    assert out.splitlines()[2].startswith("[news] two") and "\x1b" not in out


def test_events_as_json(streamhttp: Run) -> None:
    with RawServer(feed) as server:
        status, out, _ = streamhttp("events", server.url, "--json", "--count", "1")
    assert (status, json.loads(out)) == (0, {"type": "message", "data": "one\nline two", "id": "1"})


def test_an_address_without_events(streamhttp: Run) -> None:
    with FileServer(DATA) as server:
        assert streamhttp("events", server.url)[0] == 3


def test_events_say_why_nothing_comes(streamhttp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what broke, and not of a feed that ends each answer."""
    monkeypatch.setattr(Interrupt, "sleep", lambda self, seconds: None)

    def script(peer: Peer) -> None:
        if peer.number > 1:
            feed(peer)
            return
        peer.read_request()
        peer.respond(503, headers={"Connection": "close"})
        peer.cut()

    with RawServer(script) as server:
        status, out, err = streamhttp("events", server.url)
    assert status == 0 and out.splitlines()[0] == "one"
    assert err == f"streamhttp: GET {server.url} was answered with 503 Service Unavailable; trying again\n"


def test_events_for_some_seconds(streamhttp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--timeout`` is how long to listen; its end is no failure, unless there was nothing to listen to."""
    seen: list[str] = []  # the first event is the end of the time

    def show(text: str) -> str:
        seen.append(text)
        return text

    def quiet(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream()
        peer.event("one")
        peer.wait_gone()

    with RawServer(quiet) as server, monkeypatch.context() as patch:
        patch.setattr(transfers, "printable", show)
        patch.setattr(reconnecting, "Deadline", lambda seconds: Deadline(seconds, lambda: 100.0 * len(seen)))
        assert streamhttp("events", server.url, "--timeout", "20") == (0, "one\n", "")

    def silent(peer: Peer) -> None:
        peer.read_request()
        peer.wait_gone()

    with RawServer(silent) as server:
        status, out, err = streamhttp("events", server.url, "--timeout", "0.1")
    assert (status, out) == (1, "") and "not done within 0.1 s" in err


def test_a_download_does_not_go_to_the_standard_output(streamhttp: Run, tmp_path: Path) -> None:
    """As it does with other programs: it would become a file of that name."""
    with FileServer(DATA) as server:
        status, _, err = streamhttp("get", server.url, "-")
        assert status == 2 and "name a file" in err and server.accepted == 0
    assert list(tmp_path.iterdir()) == []
