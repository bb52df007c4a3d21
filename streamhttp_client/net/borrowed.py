"""An exchange through ``requests.Session.send``: for sessions of the caller's, proxies and response hooks.

Everything that is mounted on the session works: adapters, hooks, recorded answers. The body is read through
``response.raw.read1``, which gives what has arrived at once where ``iter_content`` would wait for a full buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
import urllib3

from .._headers import Headers
from ..exceptions import ClientClosed, ConnectionFailed, ReadTimeout, RemoteProtocolError
from .body import CHUNK_SIZE, Body, Response
from .errors import foreign_cause, is_foreign, read_error, requests_error
from .interrupt import Errands, Interrupt
from .sending import RewindableBody
from .timeouts import Deadline

__all__ = ["send", "unverified_session"]

# By so much the limits inside requests come first: they know how far it came.
_GRACE = 0.25


def send(
    session: requests.Session,
    request: requests.PreparedRequest,
    *,
    connect_timeout: float | None,
    remaining: Callable[[], float | None],
    deadline: Deadline,
    interrupt: Interrupt,
    settings: dict[str, Any],
) -> Response:
    """Send one prepared request and return the answer with its body unread. Redirects are not followed.

    Nothing reaches a connection inside requests before the head of its answer is here. So that an interrupt wakes that
    wait too, and a head in drips does not last for ever, it takes place on a thread that can be left behind; not for a
    request with response hooks, which may keep state for the thread that prepared it, as HTTP Digest does: there the
    timeouts end it. What is left behind while it connects may still send its request, if that has no body in pieces:
    those are always taken from their source here, where the caller waits.
    """
    seconds = remaining()
    where = request.url or ""
    if seconds == 0 or connect_timeout == 0:  # urllib3 takes no limit of 0
        raise ConnectionFailed("no time was left to connect", may_have_executed=False)
    if interrupt.fired:
        raise ClientClosed("the request was closed before it was sent")

    limit = deadline.remaining()
    if request.body is None and seconds is not None and connect_timeout is not None:
        limit = connect_timeout + seconds if limit is None else min(limit, connect_timeout + seconds)
    if limit is not None:
        limit += _GRACE

    def exchange() -> requests.Response:
        return session.send(
            request, stream=True, allow_redirects=False, timeout=(connect_timeout, seconds), **settings
        )

    answer: requests.Response | None = None
    try:
        if request.hooks["response"]:
            answer = exchange()
        else:
            errands = None
            if isinstance(request.body, RewindableBody):
                errands = request.body.errands = Errands()
            answer = interrupt.run(exchange, requests.Response.close, limit, errands)
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        foreign = foreign_cause(error)
        if foreign is not None:
            raise foreign from None
        raise requests_error(error, _origin(where) + _way(where, settings), seconds) from error
    except ValueError as error:  # an address in Location that not even requests can take apart
        if is_foreign(error):
            raise
        raise RemoteProtocolError(f"the answer cannot be understood: {error}") from error
    finally:
        if answer is None and isinstance(request.body, RewindableBody):
            request.body.close()
    if answer is None:
        if interrupt.fired or limit is None:
            raise ClientClosed("the request was closed before its answer came")
        raise ReadTimeout(f"no whole head of an answer came within {limit:g} s")
    if 100 <= answer.status_code < 200 and answer.status_code != 101:
        # http.client takes it for the final answer, and would give the final one to the next request.
        connection = getattr(answer.raw, "connection", None)
        if connection is not None:
            connection.close()
        answer.close()
        raise RemoteProtocolError(
            f"the server sent an interim answer ({answer.status_code}), which requests cannot skip; "
            "a client without http= can"
        )
    headers = Headers((name.lower(), value) for name, value in answer.headers.items())
    body = _BorrowedBody(answer, interrupt, seconds)
    return Response(answer.status_code, answer.reason or "", headers, answer.url or where, body)


def unverified_session() -> requests.Session:
    """A session that checks no certificate, for what takes ``http=``."""
    session = requests.Session()
    session.verify = False
    return session


def _origin(url: str) -> str:
    parsed = urllib3.util.parse_url(url)
    return f"{parsed.host}:{parsed.port or (443 if parsed.scheme == 'https' else 80)}"


def _way(url: str, settings: dict[str, Any]) -> str:
    """Through which proxy, if any; without its password."""
    proxy = requests.utils.select_proxy(url, settings.get("proxies"))
    if not proxy:
        return ""
    try:
        if urllib3.util.parse_url(proxy).host:
            return f" through the proxy {_origin(proxy)}"
    except urllib3.exceptions.LocationParseError:
        pass
    return " through a proxy whose address cannot be understood"


class _BorrowedBody(Body):
    def __init__(self, answer: requests.Response, interrupt: Interrupt, seconds: float | None) -> None:
        self._answer = answer
        self._raw: Any = answer.raw
        self._interrupt = interrupt
        self._seconds = seconds
        self._sock = _socket_of(self._raw)
        self._read = self._choose_read()
        headers = answer.headers
        self.end_is_known = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
        if answer.raw is not None and not getattr(answer, "_content_consumed", False):
            interrupt.attach(self._break)

    def _choose_read(self) -> Callable[[int], bytes]:
        raw = self._raw
        if raw is None or getattr(self._answer, "_content_consumed", False):
            # A hook read the body already, or an adapter made the answer up.
            pieces = iter([self._answer.content or b""])
            return lambda size: next(pieces, b"")
        if isinstance(raw, urllib3.HTTPResponse):
            coded = "content-encoding" in raw.headers  # what is plain goes through urllib3's buffers faster undecoded
            return lambda size: raw.read1(size, decode_content=coded)
        # Adapters of test libraries bring other files: recorded answers know no read1(decode_content).
        pieces = self._answer.iter_content(CHUNK_SIZE)
        return lambda size: next(pieces, b"")

    def read1(self, size: int = CHUNK_SIZE, *, timeout: float | None = None) -> bytes:
        if timeout is not None and timeout <= 0:
            raise ReadTimeout("no time was left to wait for the answer")
        if self._sock is not None and not self._given_back():
            try:
                self._sock.settimeout(timeout)
            except OSError:
                self._sock = None  # http.client has closed it; what is left to read is in memory
        try:
            data = self._read(size)
        except Exception as error:
            foreign = foreign_cause(error)
            if foreign is not None:
                raise foreign from None
            if self._interrupt.fired:
                raise ClientClosed("the answer was closed while it was read") from None
            if isinstance(error, urllib3.exceptions.DecodeError):
                raise RemoteProtocolError("the answer does not fit its content coding") from error
            if isinstance(error, (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)):
                raise read_error(error, timeout or self._seconds) from error
            raise
        if not data:
            self._interrupt.detach(self._break)
            if self._interrupt.fired:
                raise ClientClosed("the answer was closed while it was read")
        return data

    def leave_coded(self) -> None:
        raw = self._raw
        if isinstance(raw, urllib3.HTTPResponse) and not getattr(self._answer, "_content_consumed", False):
            self._read = lambda size: raw.read1(size, decode_content=False)

    def close(self) -> None:
        if getattr(self._raw, "length_remaining", None) == 0:
            # Nothing is to come, but only a read tells urllib3 so, and has it keep the connection.
            try:
                self._read(1)
            except Exception:  # of an answer that nobody wants any more
                pass
        self._interrupt.detach(self._break)
        self._answer.close()

    def _given_back(self) -> bool:
        """Whether the connection may serve another thread by now."""
        return isinstance(self._raw, urllib3.HTTPResponse) and self._raw.closed

    def _break(self) -> None:
        try:
            self._raw.shutdown()
        except (AttributeError, ValueError, RuntimeError, OSError):
            pass  # no socket below, or finished already


def _socket_of(raw: Any) -> Any:
    """The socket below a response, so that each read can have its own timeout; None where there is none to be found."""
    connection = getattr(raw, "connection", None) or getattr(raw, "_connection", None)
    sock = getattr(connection, "sock", None)
    if sock is None:  # http.client gives the socket to the response alone if the connection ends with it
        sock = getattr(getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None), "_sock", None)
    return sock if hasattr(sock, "settimeout") else None
