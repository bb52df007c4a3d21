"""Upload a file by tus, be interrupted, and send only the rest the next time.

    python upload_tus.py [FILE ENDPOINT]

Without arguments it brings a small tus server. With them, interrupt it with Ctrl-C and run it again.
"""

import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from streamhttp_client import Progress, upload

STORED = bytearray()


class Tus(BaseHTTPRequestHandler):
    """The least of tus 1.0, for one upload."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Tus_Resumable": "1.0.0", "Content_Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_OPTIONS(self) -> None:
        self.answer(204, Tus_Version="1.0.0", Tus_Extension="creation")

    def do_POST(self) -> None:
        self.answer(201, Location="/uploads/1")

    def do_HEAD(self) -> None:
        self.answer(200, Upload_Offset=str(len(STORED)))

    def do_PATCH(self) -> None:
        STORED.extend(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(204, Upload_Offset=str(len(STORED)))

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is what this is about."""


class Enough(Exception):
    pass


def stop_in_the_middle(report: Progress) -> None:
    """Stands for Ctrl-C, a crash, a dead battery."""
    if report.progress > 400_000:
        raise Enough


def send(path: Path, endpoint: str) -> None:
    result = upload(path, endpoint, protocol="tus", metadata={"filename": path.name})
    print(f"{result.bytes:,} bytes are at {result.url}, {result.resumed_from:,} of them from before")


if len(sys.argv) > 2:
    send(Path(sys.argv[1]), sys.argv[2])
else:
    with Server(("127.0.0.1", 0), Tus) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}/uploads"
        path = Path(folder) / "video.bin"
        path.write_bytes(bytes(range(256)) * 4096)
        try:
            # In small requests, so that there is a middle to stop in.
            upload(path, endpoint, protocol="tus", chunk_size=1024, on_progress=stop_in_the_middle)
        except Enough:
            print(f"interrupted, with {len(STORED):,} bytes on the server")
        send(path, endpoint)
        print("the same:", bytes(STORED) == path.read_bytes())
        server.shutdown()
