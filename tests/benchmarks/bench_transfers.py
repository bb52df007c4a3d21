"""Downloads and uploads beside curl, wget, requests, httpx and tuspy, as whole processes.

    python -m tests.benchmarks.bench_transfers [--size MIB] [--runs N] [--folder DIR] [--only down|put|tus]

Starting Python and importing requests takes 0.1 to 0.2 s, which is most of what curl takes for 512 MiB: ``--size 4096``
shows the rest.

Downloads come from nginx. Uploads go to a server that reads and forgets, so that the client is what is measured; it
answers tus requests too. Each round starts every contender once, in turn, so that a machine whose speed drifts does so
for all of them; the ratios are medians over the rounds, each against curl in the same round. A contender that is not
installed is left out and named. CPU time and peak memory are the system's own account of the process;
no peak is seen below that of this one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks._table import print_table
from tests.transfer.peers import ROOT, nginx

READS_AND_FORGETS = """
    import socket, sys, threading
    listener = socket.socket(fileno=int(sys.argv[1]))
    def serve(sock):
        buffer = bytearray(1 << 20)
        while True:
            head = b""
            while b"\\r\\n\\r\\n" not in head:
                data = sock.recv(65536)
                if not data:
                    return
                head += data
            head, _, begun = head.partition(b"\\r\\n\\r\\n")
            method, *fields = head.lower().split(b"\\r\\n")
            fields = dict(field.partition(b":")[::2] for field in fields)
            size = int(fields.get(b"content-length", 0))
            if b"expect" in fields:
                sock.sendall(b"HTTP/1.1 100 Continue\\r\\n\\r\\n")
            left = size - len(begun)
            while left > 0:
                count = sock.recv_into(buffer, min(left, len(buffer)))
                if not count:
                    return
                left -= count
            more = {
                b"options": b"Tus-Version: 1.0.0\\r\\nTus-Extension: creation\\r\\n",
                b"post": b"Location: /files/1\\r\\n",
                b"patch": b"Upload-Offset: %d\\r\\n" % (int(fields.get(b"upload-offset", 0)) + size),
            }.get(method.split()[0], b"")
            status = b"204 No Content" if method.startswith(b"patch") else b"201 Created"
            length = b"" if method.startswith(b"patch") else b"Content-Length: 0\\r\\n"
            sock.sendall(b"HTTP/1.1 " + status + b"\\r\\nTus-Resumable: 1.0.0\\r\\n" + more + length + b"\\r\\n")
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(sock,), daemon=True).start()
"""

REQUESTS_DOWN = """
    import sys, requests
    with requests.get(sys.argv[1], stream=True) as answer, open(sys.argv[2], "wb") as file:
        for chunk in answer.iter_content(65536):
            file.write(chunk)
"""
HTTPX_DOWN = """
    import sys, httpx
    with httpx.stream("GET", sys.argv[1]) as answer, open(sys.argv[2], "wb") as file:
        for chunk in answer.iter_bytes():
            file.write(chunk)
"""
OURS_DOWN = """
    import sys
    from streamhttp_client.transfer.download import download
    download(sys.argv[1], sys.argv[2], overwrite=True, on_progress=lambda report: None)
"""
REQUESTS_UP = """
    import sys, requests
    with open(sys.argv[2], "rb") as file:
        requests.put(sys.argv[1], data=file).raise_for_status()
"""
HTTPX_UP = """
    import sys, httpx
    with open(sys.argv[2], "rb") as file:
        httpx.put(sys.argv[1], content=file, timeout=60).raise_for_status()
"""
OURS_UP = """
    import sys
    from streamhttp_client.transfer.upload import upload
    upload(sys.argv[2], sys.argv[1], protocol=sys.argv[3], on_progress=lambda report: None)
"""
TUSPY = """
    import sys
    from tusclient.client import TusClient
    TusClient(sys.argv[1]).uploader(sys.argv[2]).upload()
"""
NOTHING = """
    import requests
"""


class Run:
    """Wall and CPU seconds, peak MiB of one process."""

    def __init__(self, command: list[str]) -> None:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert process.stderr is not None
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        self.wall = time.monotonic() - began
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss / 1024
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode:
            last = error.decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(last or f"exit status {process.returncode}")


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *arguments]


def compare(title: str, contenders: dict[str, list[str]], runs: int, target: str | None = None) -> None:
    """Run all contenders in turn, ``runs`` times, the first of them being what the others are measured by.

    ``target`` is removed before each run: to free the last file is a work of its own, which each would do differently.
    """
    found: dict[str, list[Run]] = {}
    for name, command in list(contenders.items()):
        try:
            Run(command)  # to warm caches, and to see whether it is installed
            found[name] = []
        except (OSError, RuntimeError) as error:
            print(f"left out: {name}: {error}")
    for _ in range(runs):
        for name, results in found.items():
            if target is not None and os.path.exists(target):
                os.unlink(target)
            results.append(Run(contenders[name]))
    base = next(iter(found.values()))
    rows = []
    for name, results in found.items():
        rows.append(
            [
                name,
                statistics.median(run.wall for run in results),
                statistics.median(run.cpu for run in results),
                statistics.median(a.wall / b.wall for a, b in zip(results, base, strict=True)),
                statistics.median(a.cpu / b.cpu for a, b in zip(results, base, strict=True)),
                max(run.peak for run in results),
            ]
        )
    first = next(iter(found))
    print_table(title, ["", "wall s", "CPU s", f"wall/{first}", f"CPU/{first}", "peak MiB"], rows)


@contextlib.contextmanager
def forgetting_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        process = subprocess.Popen(python(READS_AND_FORGETS, str(number)), pass_fds=[number])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/files"
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=512, metavar="MIB")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", help="where files are written; by default the system's folder for them")
    parser.add_argument("--only", choices=("down", "put", "tus"))
    options = parser.parse_args()
    only = options.only
    base = Path(tempfile.mkdtemp(dir=options.folder))
    base.chmod(0o755)
    try:
        (base / "root").mkdir()
        source = base / "root" / "source.bin"
        with open(source, "wb") as file:
            for _ in range(options.size):
                file.write(os.urandom(1 << 20))
        into = str(base / "target.bin")
        if only in (None, "down"):
            with nginx(base) as origin:
                url = f"{origin}/source.bin"
                compare(
                    f"Download of {options.size} MiB from nginx",
                    {
                        "curl": ["curl", "-sSf", "-o", into, url],
                        "wget": ["wget", "-q", "-O", into, url],
                        "requests": python(REQUESTS_DOWN, url, into),
                        "httpx": python(HTTPX_DOWN, url, into),
                        "ours, with progress": python(OURS_DOWN, url, into),
                        "import requests": python(NOTHING),
                    },
                    options.runs,
                    into,
                )
        path = str(source)
        with forgetting_server() as url:
            if only in (None, "put"):
                compare(
                    f"Upload of {options.size} MiB with PUT",
                    {
                        "curl": ["curl", "-sSf", "-T", path, url],
                        "requests": python(REQUESTS_UP, url, path),
                        "httpx": python(HTTPX_UP, url, path),
                        "ours, with progress": python(OURS_UP, url, path, "put"),
                        "import requests": python(NOTHING),
                    },
                    options.runs,
                )
            if only in (None, "tus"):
                compare(
                    f"Upload of {options.size} MiB by tus",
                    {
                        "curl, one PATCH": ["curl", "-sSf", "-X", "PATCH", "-T", path, url],
                        "tuspy": python(TUSPY, url, path),
                        "ours, with progress": python(OURS_UP, url, path, "tus"),
                        "import requests": python(NOTHING),
                    },
                    options.runs,
                )
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
