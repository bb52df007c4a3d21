"""upload(protocol="tus") against real servers: npm ``@tus/server``, and tuspyserver, which joins uploads too."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import DigestMismatch
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.progress import Progress
from streamhttp_client.transfer.upload import UploadResult, upload
from tests.support.cutter import Cutter
from tests.transfer.fileserver import Watched
from tests.transfer.peers import TusServer, python_tus, spawn
from tests.transfer.test_tus import DATA, Stop, file, sidecars

__all__ = ["file"]

pytestmark = pytest.mark.live


@pytest.fixture
def tus(tmp_path: Path) -> Iterator[TusServer]:
    (tmp_path / "server").mkdir()
    with TusServer(tmp_path / "server") as server:
        yield server


def real(server: TusServer, source: Any, **options: Any) -> UploadResult:
    options.setdefault("retry", RetryPolicy(attempts=8, base=0.1))
    return upload(source, options.pop("url", server.endpoint), protocol="tus", **options)


@pytest.mark.parametrize("size", [0, 1000, len(DATA)])
def test_real_server_takes_it_whole(tus: TusServer, tmp_path: Path, size: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(DATA[:size])
    result = real(tus, path, metadata={"filename": "x", "filetype": "application/octet-stream"})
    assert tus.stored(result.url) == DATA[:size]
    assert real(tus, path, chunk_size=300_000).bytes == size


def test_real_server_takes_an_iterator(tus: TusServer) -> None:
    result = real(tus, iter([DATA[:1_500_000], DATA[1_500_000:]]), chunk_size=1_000_000)
    assert tus.stored(result.url) == DATA


def test_real_server_goes_on_after_a_cut(tus: TusServer) -> None:
    """The connection is cut in the middle of a PATCH; what the server has by then is not sent again."""
    data = DATA * 8
    with Cutter(("127.0.0.1", tus.port)) as cutter:
        host, port = cutter.address
        source = Watched(data, 12 << 20, cutter.cut)
        result = real(tus, source, url=f"http://{host}:{port}/files")
        assert result.attempts >= 2 and result.restarts == 0
        assert tus.stored(result.url) == data
        assert cutter.bytes_up < 2 * len(data) - (1 << 20)


def test_real_server_that_is_killed_in_the_middle_of_a_request(tus: TusServer) -> None:
    """kill -9, restart over the same files: the upload goes on where it was."""
    data = os.urandom(1 << 20) * 64

    def kill() -> None:
        tus.kill()
        tus.start()

    result = real(tus, Watched(data, 30 << 20, kill))
    assert result.restarts == 0 and result.attempts >= 2
    assert tus.stored(result.url) == data


def test_real_server_and_a_killed_uploader(tus: TusServer, tmp_path: Path) -> None:
    """kill -9 of our process; the next one sends only the rest."""
    path = tmp_path / "big"
    data = os.urandom(1 << 20) * 24
    path.write_bytes(data)
    process = spawn(
        """
        import sys, threading
        from streamhttp_client.transfer.upload import upload
        def report(p):
            if p.progress >= 4 << 20:
                print("reached", flush=True)
                threading.Event().wait()
        # In many requests, so that it takes many times as long as the pause between two reports.
        upload(sys.argv[1], sys.argv[2], protocol="tus", chunk_size=1 << 16, on_progress=report)
        """,
        str(path),
        tus.endpoint,
    )
    assert process.stdout is not None and process.stdout.readline() == b"reached\n"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    result = real(tus, path)
    assert result.resumed_from >= 4 << 20 and tus.stored(result.url) == data


def test_real_server_where_the_upload_has_expired(tmp_path: Path, file: Path, every_report: None) -> None:
    """It says when in Upload-Expires; after that it is begun anew."""
    (tmp_path / "server").mkdir()
    with TusServer(tmp_path / "server", expiry_ms=200) as server:

        def stop(report: Progress) -> None:
            if report.progress >= 100_000 and report.state == "running":
                raise Stop

        with pytest.raises(Stop):
            real(server, file, on_progress=stop, chunk_size=1 << 18)
        assert len(sidecars(tmp_path)) == 1
        threading.Event().wait(0.5)  # the server's own clock
        result = real(server, file)
        assert result.resumed_from == 0 and server.stored(result.url) == DATA


def test_real_server_is_told_to_throw_a_wrong_file_away(tus: TusServer, tmp_path: Path) -> None:
    """Termination: most of it is there when the digest turns out to be another one, and in the end nothing is."""
    path = tmp_path / "x"
    path.write_bytes(DATA)
    with pytest.raises(DigestMismatch):
        real(tus, path, chunk_size=1 << 20, digest="sha256:" + "0" * 64)
    assert list(tus.folder.iterdir()) == [] and sidecars(tmp_path) == []


def test_real_server_is_told_to_throw_an_outdated_file_away(
    tus: TusServer, tmp_path: Path, every_report: None
) -> None:
    """Termination of what an earlier call left, once the source has changed."""
    path = tmp_path / "x"
    path.write_bytes(DATA)

    def stop(report: Progress) -> None:
        if report.progress >= 1 << 20:
            raise Stop

    with pytest.raises(Stop):
        real(tus, path, chunk_size=1 << 16, on_progress=stop)
    (left,) = [name for name in tus.folder.iterdir() if not name.name.endswith(".json")]
    path.write_bytes(DATA[::-1])
    result = real(tus, path)
    assert result.resumed_from == 0 and tus.stored(result.url) == DATA[::-1]
    assert not left.exists()


def test_real_server_that_offers_neither_checksum_nor_concatenation_is_asked_for_neither(
    tus: TusServer, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(DATA)
    result = real(tus, path, segments=3, digest="sha256:" + hashlib.sha256(DATA).hexdigest())
    assert result.attempts == 1 and tus.stored(result.url) == DATA


def test_real_server_joins_segments(tmp_path: Path, file: Path) -> None:
    """Concatenation: three parts at once become one upload, and a cut in one of them is mended."""
    (tmp_path / "server").mkdir()
    with python_tus(tmp_path / "server") as endpoint:
        with Cutter(endpoint) as cutter:
            host, port = cutter.address
            through = f"http://{host}:{port}/files/"
            seen: list[Progress] = []

            def cut_once(report: Progress) -> None:
                if not any(earlier.progress for earlier in seen) and report.progress:
                    cutter.cut()
                seen.append(report)

            digest = "sha256:" + hashlib.sha256(DATA).hexdigest()
            result = upload(file, through, protocol="tus", segments=3, digest=digest, on_progress=cut_once)
        assert result.attempts >= 3 and seen[-1].progress == len(DATA)
        assert (tmp_path / "server" / result.url.rpartition("/")[2]).read_bytes() == DATA
    assert sidecars(tmp_path) == []
