"""Read one file out of a large archive on a server, without fetching the archive.

``python open_remote_zip.py URL [MEMBER]`` lists an archive of your own, or prints a member of it. Without an address
it does both with an archive that this program serves itself.
"""

import contextlib
import io
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from streamhttp_client import open_url


class Files(BaseHTTPRequestHandler):
    """One archive of 16 MiB, with ranges, as nginx or a storage service would serve it."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def do_GET(self) -> None:
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last or len(ARCHIVE)) + 1, len(ARCHIVE))
        self.send_response(206)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(ARCHIVE)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(ARCHIVE[start:end])
        Files.sent += end - start

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def pack() -> bytes:
    """An archive with something small among large things."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(16):
            archive.writestr(f"ballast/{number}.bin", os.urandom(1024 * 1024))
        archive.writestr("notes/readme.txt", "What you wanted to read.\n")
    return packed.getvalue()


@contextlib.contextmanager
def address() -> Iterator[str]:
    """Where the archive is."""
    if len(sys.argv) > 1:
        yield sys.argv[1]
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/archive.zip"
        server.shutdown()


ARCHIVE = b"" if len(sys.argv) > 1 else pack()
MEMBER = sys.argv[2] if len(sys.argv) > 2 else None if len(sys.argv) > 1 else "notes/readme.txt"

with address() as url, open_url(url) as file, zipfile.ZipFile(file) as archive:
    for info in archive.infolist():
        print(f"{info.file_size:>12,}  {info.filename}")
    if MEMBER is not None:
        print(archive.read(MEMBER).decode(errors="replace"))
    if ARCHIVE:
        print(f"{Files.sent:,} of {file.size:,} bytes were sent")
