"""Follow a feed of server-sent events that ends now and then, and lose nothing.

``python event_source.py URL`` follows a feed of your own. Without an address it follows one that this program serves
itself: it closes the connection after each second event, and says 204 when there is no more.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from streamhttp_client import EventSource

LAST = 6


class Feed(BaseHTTPRequestHandler):
    """Numbers from the one after Last-Event-ID on, two for each connection."""

    def do_GET(self) -> None:
        last = int(self.headers.get("Last-Event-ID", 0))
        self.send_response(200 if last < LAST else 204)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if last < LAST:
            self.wfile.write(b"retry: 100\n\n")
            for number in (last + 1, last + 2):
                self.wfile.write(b"id: %d\nevent: count\ndata: %d of %d\n\n" % (number, number, LAST))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def feed() -> Iterator[str]:
    """The address to follow."""
    if len(sys.argv) > 1:
        yield sys.argv[1]
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Feed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


with (
    feed() as url,
    EventSource(
        url,
        on_open=lambda opened: print(f"connected, from id {opened.last_event_id or 'none'} on"),
        on_error=lambda error: print(f"again soon: {error}"),
    ) as source,
):
    for event in source:
        print(f"{event.type}: {event.data}")
        # source.last_event_id is what to store, and to pass as last_event_id= another day
    print(f"the end, after {source.stats.events} events over {source.stats.connects} connections")
