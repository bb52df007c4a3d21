"""download() against nginx and Apache, killed processes and full disks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import DiskFull, TooSlow, TransferInterrupted, TransferRefused
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.timeouts import Timeout
from streamhttp_client.transfer.download import download
from streamhttp_client.transfer.upload import upload
from tests.support.cutter import Cutter
from tests.transfer.fileserver import Watched
from tests.transfer.peers import apache, nginx, spawn

pytestmark = pytest.mark.live

DATA = os.urandom(4 << 20)
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()
LONG_AGO = 1_700_000_000


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, as Apache's workers are another one.

    Not among pytest's own: each run of pytest closes those to others again, also under a run beside it.
    """
    with tempfile.TemporaryDirectory(prefix="streamhttp-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def base(open_folder: Path) -> Path:
    folder = open_folder / "web"
    folder.mkdir()
    root = folder / "root"
    root.mkdir()
    (root / "file.bin").write_bytes(DATA)
    os.utime(root / "file.bin", (LONG_AGO, LONG_AGO))
    (root / "text.txt").write_text("a line of text\n" * 50_000)
    os.utime(root / "text.txt", (LONG_AGO, LONG_AGO))
    (root / "empty").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def web(base: Path) -> Iterator[str]:
    with nginx(base) as origin:
        yield origin


@pytest.fixture(scope="module")
def httpd(base: Path, open_folder: Path) -> Iterator[str]:
    own = open_folder / "httpd"
    own.mkdir()
    (own / "root").symlink_to(base / "root")
    with apache(own) as origin:
        yield origin


@pytest.fixture(params=["web", "httpd"])
def origin(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def through(cutter: Cutter, path: str) -> str:
    host, port = cutter.address
    return f"http://{host}:{port}{path}"


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- real servers


def test_a_file_with_its_digest(origin: str, tmp_path: Path) -> None:
    result = download(f"{origin}/file.bin", tmp_path, digest=SHA)
    assert result.verified and (result.attempts, result.bytes) == (1, len(DATA))
    assert (tmp_path / "file.bin").read_bytes() == DATA


def test_an_empty_file(origin: str, tmp_path: Path) -> None:
    assert download(f"{origin}/empty", tmp_path).bytes == 0


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_cuts_are_gone_on_from(origin: str, tmp_path: Path, how: Any) -> None:
    """Armed on the way down, so the answer itself is cut."""
    with Cutter(origin) as cutter:
        cutter.cut_after(1_000_000, how)
        result = download(through(cutter, "/file.bin"), tmp_path / "x", retry=RetryPolicy(base=0))
        # All that the proxy had passed on was kept, but for the head of the answer and what a reset destroys.
        assert result.attempts == 2 and result.restarts == 0
        if how == "fin":
            assert cutter.bytes_down - len(DATA) < 2000
    assert (tmp_path / "x").read_bytes() == DATA


def test_an_interrupted_download_goes_on(origin: str, tmp_path: Path) -> None:
    with Cutter(origin) as cutter:
        cutter.cut_after(1_000_000, "fin")
        with pytest.raises(TransferInterrupted) as caught:
            download(through(cutter, "/file.bin"), tmp_path / "x", retry=RetryPolicy(attempts=1))
        result = download(through(cutter, "/file.bin"), tmp_path / "x", digest=SHA)
    assert result.resumed_from == caught.value.bytes_kept > 900_000
    assert result.verified and leftovers(tmp_path) == ["x"]


def test_a_file_that_changes_in_between_is_fetched_anew(origin: str, base: Path, tmp_path: Path) -> None:
    """Another version under the same address: If-Range gives all of it."""
    file = base / "root" / "changing"
    file.write_bytes(DATA)
    os.utime(file, (LONG_AGO, LONG_AGO))
    with Cutter(origin) as cutter:
        cutter.cut_after(1_000_000, "fin")
        with pytest.raises(TransferInterrupted):
            download(through(cutter, "/changing"), tmp_path / "x", retry=RetryPolicy(attempts=1))
        file.write_bytes(DATA[::-1])
        os.utime(file, (LONG_AGO + 50, LONG_AGO + 50))
        result = download(through(cutter, "/changing"), tmp_path / "x")
    assert result.restarts == 1 and (tmp_path / "x").read_bytes() == DATA[::-1]


def test_a_file_that_shrinks_in_between_is_fetched_anew(origin: str, base: Path, tmp_path: Path) -> None:
    file = base / "root" / "shrinking"
    file.write_bytes(DATA)
    os.utime(file, (LONG_AGO, LONG_AGO))
    with Cutter(origin) as cutter:
        cutter.cut_after(2_000_000, "fin")
        with pytest.raises(TransferInterrupted):
            download(through(cutter, "/shrinking"), tmp_path / "x", retry=RetryPolicy(attempts=1))
        file.write_bytes(DATA[:1000])
        os.utime(file, (LONG_AGO + 50, LONG_AGO + 50))
        download(through(cutter, "/shrinking"), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA[:1000]


def test_all_that_was_left_out_is_the_last_rename(origin: str, tmp_path: Path) -> None:
    """Killed between the last byte and the rename: nothing more is fetched."""
    with Cutter(origin) as cutter:
        cutter.cut_after(1_000_000, "fin")
        with pytest.raises(TransferInterrupted):
            download(through(cutter, "/file.bin"), tmp_path / "x", retry=RetryPolicy(attempts=1))
        (tmp_path / "x.part").write_bytes(DATA)
        connections = cutter.connections
        result = download(through(cutter, "/file.bin"), tmp_path / "x", digest=SHA)
        assert (result.resumed_from, cutter.connections) == (len(DATA), connections)


def test_segments(origin: str, tmp_path: Path) -> None:
    with Cutter(origin) as cutter:
        cutter.cut_after(2_500_000)
        result = download(through(cutter, "/file.bin"), tmp_path / "x", segments=4, digest=SHA)
    assert result.verified and result.attempts >= 4


def test_text_that_the_server_would_compress_comes_as_it_is(origin: str, base: Path, tmp_path: Path) -> None:
    """``Accept-Encoding: identity`` is heeded, so the size is known and ranges are of the file."""
    result = download(f"{origin}/gzip/text.txt", tmp_path / "x")
    text = (base / "root/text.txt").read_bytes()
    assert (tmp_path / "x").read_bytes() == text and result.total == len(text)


def test_a_server_without_ranges_begins_again(web: str, tmp_path: Path) -> None:
    """nginx with max_ranges 0 and a strong tag: the whole file comes, and what is there is skipped."""
    with Cutter(web) as cutter:
        cutter.cut_after(1_000_000, "fin")
        result = download(through(cutter, "/norange/file.bin"), tmp_path / "x", digest=SHA, retry=RetryPolicy(base=0))
    assert (result.attempts, result.restarts) == (2, 0) and result.verified


def test_a_server_without_tags_resumes_by_date(web: str, tmp_path: Path) -> None:
    with Cutter(web) as cutter:
        cutter.cut_after(1_000_000, "fin")
        result = download(through(cutter, "/noetag/file.bin"), tmp_path / "x", digest=SHA, retry=RetryPolicy(base=0))
    assert (result.attempts, result.restarts, result.etag) == (2, 0, None)


def test_a_server_that_is_busy_is_waited_for(web: str, tmp_path: Path) -> None:
    """503 with Retry-After 1 from the rate limiter of nginx."""
    download(f"{web}/busy/empty", tmp_path / "x")
    waits: list[float] = []
    result = download(f"{web}/busy/file.bin", tmp_path / "y", on_progress=lambda report: waits.append(report.attempt))
    assert result.attempts > 1 and result.elapsed >= 0.9


def test_a_server_that_is_busy_for_ever(web: str, tmp_path: Path) -> None:
    download(f"{web}/busy/empty", tmp_path / "x", overwrite=True)
    with pytest.raises(TransferRefused) as caught:
        download(f"{web}/busy/file.bin", tmp_path / "y", retry=RetryPolicy(max_server_wait=0.5))
    assert caught.value.status == 503 and caught.value.headers["retry-after"] == "1"


def test_a_redirect_and_a_name(web: str, tmp_path: Path) -> None:
    assert download(f"{web}/moved/file.bin", tmp_path / "x").bytes == len(DATA)
    assert download(f"{web}/named/text.txt", tmp_path).path == str(tmp_path / "re_port.txt")


def test_a_server_that_is_too_slow_is_left(web: str, tmp_path: Path) -> None:
    """nginx sends 256 KiB a second; ten times that is wanted."""
    with pytest.raises(TooSlow) as caught:
        download(
            f"{web}/slow/file.bin", tmp_path / "x", min_speed=(2_500_000, 0.4), retry=RetryPolicy(attempts=1)
        )
    assert 0 < caught.value.bytes_kept < len(DATA)


def test_a_rate_limit_of_our_own(web: str, tmp_path: Path) -> None:
    """4 MiB at 8 MiB a second take half a second; that is not held against the server."""
    result = download(f"{web}/file.bin", tmp_path / "x", rate_limit=8 << 20, min_speed=(1 << 20, 0.1))
    assert 0.4 < result.elapsed < 5


def test_no_such_file(origin: str, tmp_path: Path) -> None:
    with pytest.raises(TransferRefused) as caught:
        download(f"{origin}/none", tmp_path / "x")
    assert caught.value.status == 404 and b"404" in caught.value.body and leftovers(tmp_path) == []


# -- uploads to nginx


def test_put_to_a_real_server(web: str, base: Path, tmp_path: Path) -> None:
    """DAV: stored byte for byte, replaced by the next one."""
    (tmp_path / "x").write_bytes(DATA)
    result = upload(tmp_path / "x", f"{web}/dav/put.bin", digest=SHA)
    assert result.response is not None and result.response.status == 201
    assert (base / "dav/put.bin").read_bytes() == DATA
    result = upload(iter([DATA[:1000]]), f"{web}/dav/put.bin")
    assert result.response is not None and result.response.status == 204
    assert (base / "dav/put.bin").read_bytes() == DATA[:1000]


def test_put_survives_cuts(web: str, base: Path) -> None:
    """Cut in the middle of the body and after it."""
    data = DATA * 4
    with Cutter(web) as cutter:
        source = Watched(data, 6 << 20, cutter.cut)
        result = upload(source, through(cutter, "/dav/cut.bin"), retry=RetryPolicy(base=0))
        cutter.cut_after(10, "fin")
        assert upload(b"again", through(cutter, "/dav/lost.bin"), retry=RetryPolicy(base=0)).attempts == 2
    assert (result.attempts, result.restarts) == (2, 1) and (base / "dav/cut.bin").read_bytes() == data
    assert (base / "dav/lost.bin").read_bytes() == b"again"


def test_put_to_a_server_that_is_busy(web: str, tmp_path: Path) -> None:
    upload(b"first", f"{web}/busydav/a")
    result = upload(b"second", f"{web}/busydav/b")
    assert result.attempts > 1 and result.elapsed >= 0.9


def test_put_of_more_than_the_server_takes(web: str, tmp_path: Path) -> None:
    """nginx answers 413 to the head and closes."""
    (tmp_path / "x").write_bytes(DATA * 4)
    with pytest.raises(TransferRefused) as caught:
        upload(tmp_path / "x", f"{web}/small/x", timeout=Timeout(read=30, total=None))
    assert caught.value.status == 413


# -- kill -9

DOWNLOADER = """
    import json, sys, threading
    from streamhttp_client.transfer.download import download
    segments = int(sys.argv[4])
    def noted():
        with open(sys.argv[2] + ".part.json") as file:
            state = json.load(file)
        return state["total"] - sum(end - start for start, end in state["gaps"])
    def report(p):
        if p.progress >= int(sys.argv[3]) and (segments == 1 or noted() > 0):
            print("reached", flush=True)
            threading.Event().wait()
    download(sys.argv[1], sys.argv[2], segments=segments, rate_limit=2 << 20, on_progress=report)
"""


@pytest.mark.parametrize("segments", [1, 3])
def test_a_killed_process_is_gone_on_from(origin: str, tmp_path: Path, segments: int) -> None:
    """SIGKILL in the middle: the next process fetches only the rest, byte for byte."""
    process = spawn(DOWNLOADER, f"{origin}/file.bin", str(tmp_path / "x"), "1500000", str(segments))
    assert process.stdout is not None and process.stdout.readline() == b"reached\n"
    assert {"x.part", "x.part.json"} <= set(leftovers(tmp_path))
    # While it lives, nobody takes its part away: another one fetches all of it for itself.
    other = download(f"{origin}/file.bin", tmp_path / "x")
    assert other.resumed_from == 0
    os.unlink(tmp_path / "x")
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    result = download(f"{origin}/file.bin", tmp_path / "x", digest=SHA)
    # With several, what came since the last note of the gaps is fetched again.
    assert result.resumed_from >= (1_500_000 if segments == 1 else 1)
    assert result.verified and leftovers(tmp_path) == ["x"]


def test_a_part_of_a_process_on_another_machine_is_left_alone_while_it_grows(origin: str, tmp_path: Path) -> None:
    """There its process id says nothing; how old the part is does."""
    with Cutter(origin) as cutter:
        cutter.cut_after(1_000_000, "fin")
        with pytest.raises(TransferInterrupted):
            download(through(cutter, "/file.bin"), tmp_path / "x", retry=RetryPolicy(attempts=1))
        sidecar = tmp_path / "x.part.json"
        state = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**state, "owner": {"host": "elsewhere", "pid": 1, "started": 1}}))
        assert download(through(cutter, "/file.bin"), tmp_path / "x").resumed_from == 0
        assert leftovers(tmp_path) == ["x", "x.part", "x.part.json"]
        os.utime(tmp_path / "x.part", (LONG_AGO, LONG_AGO))
        result = download(through(cutter, "/file.bin"), tmp_path / "x", overwrite=True)
        assert result.resumed_from > 0 and leftovers(tmp_path) == ["x"]


# -- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = shutil.which("mount")
    place = tmp_path / "disk"
    place.mkdir()
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not done or done.returncode:
        pytest.skip("a small tmpfs cannot be mounted here; the test with RLIMIT_FSIZE runs everywhere")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("segments", [1, 3])
def test_a_full_disk_is_said_and_can_be_gone_on_with(web: str, small_disk: Path, segments: int) -> None:
    """DiskFull; what fitted is kept, and used when there is room."""
    with pytest.raises(DiskFull) as caught:
        download(f"{web}/file.bin", small_disk / "x", segments=segments)
    assert caught.value.resumable and 0 < caught.value.bytes_kept <= 1 << 20
    assert leftovers(small_disk) == ["x.part", "x.part.json"]
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    result = download(f"{web}/file.bin", small_disk / "x", digest=SHA)
    assert result.resumed_from == caught.value.bytes_kept and result.verified


@pytest.mark.parametrize("segments", [1, 3])
def test_a_file_size_limit_is_a_full_disk(web: str, tmp_path: Path, segments: int) -> None:
    """RLIMIT_FSIZE, where no file system can be mounted: what fitted is kept, and used when there is room."""
    code = """
        import resource, sys
        from streamhttp_client.exceptions import DiskFull
        from streamhttp_client.transfer.download import download
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        try:
            download(sys.argv[1], sys.argv[2], segments=int(sys.argv[3]))
        except DiskFull as error:
            print(error.bytes_kept, error.resumable)
    """
    process = spawn(code, f"{web}/file.bin", str(tmp_path / "x"), str(segments))
    output, _ = process.communicate(timeout=30)
    kept, resumable = output.split()
    assert resumable == b"True" and (int(kept) == 1 << 20 if segments == 1 else 0 < int(kept) <= 1 << 20)
    assert leftovers(tmp_path) == ["x.part", "x.part.json"]
    assert download(f"{web}/file.bin", tmp_path / "x", digest=SHA).resumed_from == int(kept)


# -- memory


SOME_GIBIBYTES = 2200 << 20


def _roomy(folder: Path) -> Path:
    """Where gigabytes go quickly: memory, if there is enough of it."""
    shm = Path("/dev/shm")
    if shm.is_dir() and shutil.disk_usage(shm).free > 2 * SOME_GIBIBYTES:
        return Path(tempfile.mkdtemp(dir=shm))
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("way", ["down", "put", "multipart", "tus"])
def test_size_never_grows_memory(tmp_path: Path, way: str) -> None:
    """Gigabytes take no more than a megabyte does, and at most 33 MiB with all of Python and requests in it."""
    code = """
        import sys
        if sys.argv[1] != "down":
            from streamhttp_client.transfer.upload import upload
            upload(sys.argv[3], sys.argv[2], protocol=sys.argv[1], on_progress=lambda report: None)
        else:
            from streamhttp_client.transfer.download import download
            download(sys.argv[2], sys.argv[3], on_progress=lambda report: None)
        with open("/proc/self/status") as file:
            print([line.split()[1] for line in file if line.startswith("VmHWM")][0])
    """
    folder = _roomy(tmp_path)
    peaks = []
    try:
        for size in (1 << 20, SOME_GIBIBYTES):
            path = folder / "file"
            if way != "down":
                with open(path, "wb") as file:
                    file.truncate(size)
            with Zeros(size) as server:
                process = spawn(code, way, server.origin, str(path))
                output, _ = process.communicate(timeout=100)
            peaks.append(int(output))
            assert way == "down" or server.received >= size
            assert path.stat().st_size == size
            path.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    small, big = peaks
    assert big <= small + 2048, f"{big} KiB for gigabytes, {small} KiB for one megabyte"
    assert big <= 33 * 1024, f"{big} KiB"


class Zeros:
    """Serves ``size`` zero bytes, and takes any number in any kind of upload, on one thread, without keeping them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.received = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        with sock:
            block = bytearray(1 << 20)
            while self._answer(sock, block):
                pass

    def _answer(self, sock: socket.socket, block: bytearray) -> bool:
        """One request; False if there is none any more."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := sock.recv(65536)):
                return False
            data += more
        head, _, begun = data.partition(b"\r\n\r\n")
        line, *rest = head.lower().split(b"\r\n")
        method = line.split()[0]
        fields = dict(field.partition(b": ")[::2] for field in rest)
        if method == b"get":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._size)
            for _ in range(self._size >> 20):
                sock.sendall(block)
            return True
        size = int(fields.get(b"content-length", 0))
        self.received += size
        left = size - len(begun)
        while left > 0:
            left -= sock.recv_into(block)
        more = {b"post": b"Location: /1\r\n", b"patch": b"Upload-Offset: %d\r\n" % size}.get(method, b"")
        sock.sendall(b"HTTP/1.1 201 Created\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n" + more + b"\r\n")
        return True

    def __enter__(self) -> Zeros:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10)
