"""POSTs whose answer nobody waits for: what they bring about comes on another stream."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from .. import jsonrpc
from ..exceptions import StreamHTTPError
from ..net.body import Response
from ..net.http import HTTP
from ..net.interrupt import Interrupt
from ..net.timeouts import Deadline, Timeout

__all__ = ["Outbox", "Pongs", "Posting"]

logger = logging.getLogger("streamhttp_client")

# It has been woken, and mostly is back at once. In an authentication of requests' it cannot be.
_JOIN_SECONDS = 0.2
# Pings that are still to be answered. A server that sends more without waiting does not want to know.
_MAX_PINGS = 64
# What answering one may take; a server that has given up on us by then has ended the stream.
_PONG_SECONDS = 10.0


class Outbox:
    """Where the messages of one channel go. Threads share it.

    Args:
        http: What sends them.
        url: The address that the server has named. It tells whose the messages are, so it is a secret.
    """

    def __init__(self, http: HTTP, url: str) -> None:
        self._http = http
        self._url = url

    def send(
        self, headers: dict[str, str], body: bytes, *, timeout: Timeout, deadline: Deadline, interrupt: Interrupt
    ) -> Response:
        """POST one message, and return the answer, whatever it says."""
        return self._http.send(
            "POST",
            self._url,
            headers,
            body,
            timeout=timeout,
            deadline=deadline,
            interrupt=interrupt,
            keep_method=True,  # a server that has moved has not acted on the message
        )


class Posting:
    """One POST on a thread of its own.

    Some servers handle the message before they answer the POST (Java's WebMVC does). What they report or ask meanwhile
    is to be heard, and the answer may be there before. So whoever sent it waits for either.

    Args:
        outbox: Where it goes.
        headers, body: What goes.
        timeout: Its ``connect`` is used. Silence is no fault here: it is judged by the stream.
        deadline: After which it has no answer.
        on_end: Called on that thread when it is over.
    """

    def __init__(
        self,
        outbox: Outbox,
        headers: dict[str, str],
        body: bytes,
        *,
        timeout: Timeout,
        deadline: Deadline,
        on_end: Callable[[], object],
    ) -> None:
        self._outbox = outbox
        self._headers = headers
        self._body = body
        self._timeout = Timeout(timeout.connect, None, timeout.total)
        self._deadline = deadline
        self._on_end = on_end
        self._interrupt = Interrupt()
        self._outcome: deque[Response | BaseException] = deque()  # at most one; who pops it has it
        self._ended = threading.Event()
        self._left = False
        self._thread: threading.Thread | None = None

    def start(self) -> Posting:
        thread = threading.Thread(target=self._run, name="streamhttp-post", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # no more threads, or none since the interpreter is shutting down
            self._run()
        return self

    def take(self) -> Response | BaseException | None:
        """The answer or the failure, once; None before."""
        try:
            return self._outcome.popleft()
        except IndexError:
            return None

    def leave(self, seconds: float) -> Response | BaseException | None:
        """Have it ended, if it does not end by itself so soon. What came of it, where there is time for that."""
        if seconds > 0:
            self._ended.wait(seconds)
        self._left = True
        if not self._ended.is_set():
            self._interrupt.fire()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
        return self.take()

    def _run(self) -> None:
        outcome: Response | BaseException
        try:
            outcome = self._outbox.send(
                self._headers, self._body, timeout=self._timeout, deadline=self._deadline, interrupt=self._interrupt
            )
        except BaseException as error:  # whatever it is, it is the caller's
            outcome = error
        self._outcome.append(outcome)
        del outcome  # or an error would hold itself through this frame
        self._ended.set()
        if self._left and isinstance(late := self.take(), Response):
            late.body.close()
        self._on_end()


class Pongs:
    """Answers pings of the server at once, whoever reads what else comes: "The receiver MUST respond promptly with an
    empty response" (MCP 2024-11-05, basic/utilities/ping).

    Args:
        outbox: Where the answers go.
        headers: Of each.
        interrupt: What ends it.
    """

    def __init__(self, outbox: Outbox, headers: dict[str, str], interrupt: Interrupt) -> None:
        self._outbox = outbox
        self._headers = headers
        self._interrupt = interrupt
        self._lock = threading.Lock()  # guards the two below; held for a moment
        self._waiting: deque[jsonrpc.RequestId] = deque(maxlen=_MAX_PINGS)
        self._busy = False

    def answer(self, request_id: jsonrpc.RequestId) -> None:
        """Answer it on a thread that lives for as long as there are some. Does not wait."""
        with self._lock:
            self._waiting.append(request_id)
            if self._busy:
                return
            self._busy = True
        try:
            threading.Thread(target=self._run, name="streamhttp-pong", daemon=True).start()
        except RuntimeError:  # no more threads
            with self._lock:
                self._busy = False
            logger.warning("a ping of the server could not be answered")

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._interrupt.fired:
                    self._busy = False
                    return
                request_id = self._waiting.popleft()
            try:
                self._outbox.send(
                    self._headers,
                    jsonrpc.dump(jsonrpc.Response(request_id, {})),
                    timeout=Timeout(total=_PONG_SECONDS),
                    deadline=Deadline(_PONG_SECONDS),
                    interrupt=self._interrupt,
                ).body.close()
            except StreamHTTPError as error:
                logger.debug("a ping of the server could not be answered: %s", error)
