"""A scripted file server: honest by default, and with one lie at a time for the tests that need one."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

from tests.support.rawserver import Peer, RawServer, Request

LONG_AGO = "Mon, 01 Jan 2024 00:00:00 GMT"
NOW = "Mon, 01 Jul 2024 00:00:00 GMT"

#: A script for one request, or the number of bytes after which an honest answer is cut.
Answer = Callable[[Peer, Request], None] | int


class FileServer(RawServer):
    """Serves ``data`` with ranges and a strong entity tag.

    Attributes:
        data, etag, last_modified: May be changed while it runs.
        answers: What the first requests get; a function that answers on its own. Later requests get the file.
        cut_after: Bytes of body after which each connection is cut, or None.
        headers: Added to each answer with a file or a range.
    """

    def __init__(self, data: bytes, *answers: Answer, etag: str | None = '"v1"', cut_after: int | None = None) -> None:
        super().__init__()
        self.data = data
        self.etag = etag
        self.last_modified: str | None = None
        self.answers = list(answers)
        self.cut_after = cut_after
        self.headers: dict[str, str] = {}
        self.url = f"{self.origin}/folder/file.bin"

    def handle(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            answer = self.answers.pop(0) if self.answers else None
            if answer is None:
                self.serve(peer, request)
            elif isinstance(answer, int):
                self.serve(peer, request, cut_after=answer)
            else:
                answer(peer, request)

    def validators(self) -> dict[str, str]:
        found = {"Date": NOW, **self.headers}
        if self.etag is not None:
            found["ETag"] = self.etag
        if self.last_modified is not None:
            found["Last-Modified"] = self.last_modified
        return found

    def serve(self, peer: Peer, request: Request, cut_after: int | None = None) -> None:
        """Answer as an honest server does; cut the body after some bytes if told to."""
        start, end = 0, len(self.data)
        asked = request.header("Range")
        same = request.header("If-Range") in (None, self.etag, self.last_modified)
        headers: dict[str, str] = {"Accept-Ranges": "bytes", **self.validators()}
        status = 200
        if asked is not None and same:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else end, end)
            if start >= len(self.data):
                peer.respond(416, headers={**headers, "Content-Range": f"bytes */{len(self.data)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(self.data)}"
        self.send(peer, status, self.data[start:end], headers, cut_after or self.cut_after)

    def send(
        self, peer: Peer, status: int, body: bytes, headers: Mapping[str, str], cut_after: int | None = None
    ) -> None:
        peer.send_head(status, {**headers, "Content-Length": str(len(body))})
        if cut_after is not None and cut_after < len(body):
            peer.send(body[:cut_after])
            peer.cut()
        else:
            peer.send(body)


def cut(size: int) -> Answer:
    """An honest answer that is cut after ``size`` bytes of body."""
    return size


def answer(
    status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Callable[[Peer, Request], None]:
    """One fixed answer, with its length."""
    return lambda peer, request: peer.respond(status, body, headers=headers)


class Watched(io.BytesIO):
    """A source that does something once, when it has been read up to some place: exact where a report is not."""

    def __init__(self, data: bytes, place: int, action: Callable[[], object]) -> None:
        super().__init__(data)
        self._place = place
        self._action: Callable[[], object] | None = action

    def read(self, size: int | None = -1) -> bytes:
        if self._action is not None and self.tell() >= self._place:
            action, self._action = self._action, None
            action()
        return super().read(size)
