"""Download a file over a connection that breaks, and check that it is the right one.

    python download_file.py [URL [FOLDER]]

Without a URL it brings a server that hangs up in the middle of the file, again and again.
"""

import hashlib
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from streamhttp_client import Progress, download

CONTENT = bytes(range(256)) * 4096


class Flaky(BaseHTTPRequestHandler):
    """Serves one file by ranges, and not more than 300 kB of it on one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"version-1"')
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(CONTENT[start : start + 300_000])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def show(report: Progress) -> None:
    """Called at the beginning, at the end, and at most ten times a second in between."""
    print(f"{report.progress:>9,.0f} of {report.total or 0:,.0f} bytes, connection {report.attempt}, {report.state}")


def fetch(url: str, folder: str, digest: str | None = None) -> None:
    result = download(url, folder, digest=digest, on_progress=show)
    print(f"{result.path}: {result.bytes:,} bytes in {result.attempts} requests, verified: {result.verified}")


if len(sys.argv) > 1:
    fetch(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ".")
else:
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/content.bin"
        fetch(address, folder, "sha256:" + hashlib.sha256(CONTENT).hexdigest())
        server.shutdown()
