"""What keeps a client going: the handshake, the session and its renewal, the calls under way.

Threads share an engine. The session is a frozen value that is replaced whole, so reading it needs no lock; the one
lock makes sure that only one thread shakes hands, and is never held while user code runs.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from .._record import Record
from ..exceptions import (
    CallTimeout,
    CapabilityError,
    ClientClosed,
    InvalidResult,
    RemoteProtocolError,
    RPCError,
    StreamHTTPError,
    UnsupportedVersion,
)
from ..net.http import HTTP
from ..net.retry import Effort, RetryPolicy
from ..net.timeouts import Timeout
from ..protocol import calls
from ..protocol.session import Session
from ..protocol.stateful import StatefulEra
from ..protocol.versions import Revision, find_revision
from ..transport.answers import rpc_error
from ..transport.streamable import Exchange, StreamableTransport
from .callbacks import Callbacks

if TYPE_CHECKING:
    from .call import Call
    from .listening import Listener

__all__ = ["Engine"]

logger = logging.getLogger("streamhttp_client")

# What closing and cancelling may take: a server on another continent answers in a second; one that does not answer
# must not keep a script from ending.
_FAREWELL = Timeout(connect=1.0, total=2.0)
_ONCE = RetryPolicy(attempts=1)
# What a call waits for the listening stream, once: a server that lets a GET wait for its first event must not stop us.
_LISTENING_SOON = 1.0


class Engine:
    """See the module.

    Args:
        http: What sends requests.
        url: The endpoint.
        shown_url: The same without credentials, for the session.
        revision: What to offer first.
        pinned: Whether no other revision will do.
        session: A session to take up, or None to shake hands.
        listens: Whether to hold a listening stream open in the background, for requests of the server that belong to
            no call. Servers that ask in the middle of a call often do so there, and the call waits for the answer.
    """

    def __init__(
        self,
        http: HTTP,
        url: str,
        *,
        shown_url: str,
        revision: Revision,
        pinned: bool,
        session: Session | None,
        callbacks: Callbacks,
        client_info: Mapping[str, Any],
        timeout: Timeout,
        retry: RetryPolicy,
        max_message_size: int,
        renews: bool,
        listens: bool,
        on_log: Callable[[Any], object] | None,
        on_notification: Callable[[Any], object] | None,
        on_session_renewed: Callable[[Session, Session], object] | None,
    ) -> None:
        self.transport = StreamableTransport(http, url, max_message_size=max_message_size)
        self.callbacks = callbacks
        self.timeout = timeout
        self.retry = retry
        self.renews = renews
        self._listens = listens
        self._listener: Listener | None = None  # the one in the background
        self._listeners = 0  # those that the user has open
        self._listening = threading.Lock()  # guards these two; not held while a listener starts or ends
        self.on_log = on_log
        self.on_notification = on_notification
        self.session = session
        self.log_level: str | None = None
        self.subscriptions: set[str] = set()
        self._http = http
        self._shown_url = shown_url
        self._offer = revision
        self._pinned = pinned
        self._client_info = client_info
        self._on_session_renewed = on_session_renewed
        agreed = None if session is None else find_revision(session.protocol_version or "")
        self.era = StatefulEra(agreed or revision)
        self._active: dict[int, Call[Any]] = {}  # by identity; single operations on it are atomic
        self._efforts: dict[int, Effort] = {}  # handshakes under way, and whatever else close() has to wake
        self._declared: tuple[Session | None, dict[str, bool]] = (None, {})  # answers of require(), for one session
        self._closed = False
        self._pid = os.getpid()
        self._handshake = threading.Lock()  # one thread connects or renews; others wait for it up to their deadline
        # "The request ID MUST NOT have been previously used by the requestor within the same session" (MCP 2025-11-25,
        # basic/index), and another process may go on with the session. Nor may ids be those of another client: servers
        # made with the official SDKs (Python 1.30 and 2.3) keep one event store for all sessions and name a stream by
        # the request id alone, so that two clients which count from 1 get each other's answers when they resume.
        self._ids = _distant_ids()

    # -- for calls

    def next_id(self) -> int:
        return next(self._ids)

    def ready(self, effort: Effort) -> Session:
        """The session to use; shakes hands if there is none yet."""
        if self._pid != os.getpid():
            self._after_fork()
        if self._closed:
            raise ClientClosed("the client is closed")
        session = self.session
        if session is None:
            with self._handshaking(effort):
                session = self.session
                if session is None:
                    session = self._shake_hands(effort)
        if self._listens:
            self._listen_in_background()
        return session

    def _listen_in_background(self) -> None:
        with self._listening:
            listener = self._listener
            if self._listeners or (listener is not None and not (listener.ended and listener.available)):
                return
            from .listening import Listener

            limits = Timeout(self.timeout.connect, self.timeout.read, None)
            listener = self._listener = Listener(self, Effort(limits, self.retry), lambda event: None)
        listener.start().wait_open(_LISTENING_SOON)

    def listener(self, effort: Effort, callback: Callable[[Any], object] | None) -> Listener:
        """A listener for the user, in place of the one in the background: many servers allow one of them only."""
        from .listening import Listener

        def closed() -> None:
            with self._listening:
                self._listeners -= 1

        listener = Listener(self, effort, callback, closed)
        with self._listening:
            self._listeners += 1
            background, self._listener = self._listener, None
        if background is not None:
            background.close()
        return listener if callback is None else listener.start()

    def require(self, session: Session, operation: calls.Operation[Any]) -> None:
        """Raise CapabilityError if the server did not declare what an operation needs.

        "Both parties MUST only use capabilities that were successfully negotiated." MCP 2025-11-25, Operation.
        """
        path = operation.capability
        if path is None or session.capabilities is None:
            return
        known, answers = self._declared
        if known is not session:
            self._declared = (session, answers := {})
        declared = answers.get(path)
        if declared is None:
            declared = answers[path] = session.capabilities.declares(path)
        if not declared:
            raise CapabilityError(f"{operation.method!r} needs capability {path!r}, which the server did not declare")

    def renew(self, old: Session, effort: Effort) -> None:
        """Begin a new session after ``old``, unless another thread has done it by now."""
        with self._handshaking(effort):
            if self.session is not old:
                return
            new = self._shake_hands(effort)
        logger.info("the server had ended the session; a new one was started")
        self._restore(effort)
        if self._on_session_renewed is not None:
            self._on_session_renewed(old, new)

    def enter(self, call: Call[Any]) -> None:
        self._active[id(call)] = call
        if self._closed:  # closed since ready() looked
            call._effort.interrupt.fire()

    def leave(self, call: Call[Any]) -> None:
        self._active.pop(id(call), None)

    def active(self) -> list[Call[Any]]:
        """Calls that have begun and not ended."""
        return list(self._active.values())

    def serve(self, request: jsonrpc.Request, effort: Effort, exchange: Exchange | None = None) -> None:
        """Answer what the server asked, with a POST of its own."""
        answer = self.callbacks.answer(request)
        if exchange is not None:
            # A request that the server has taken back meanwhile gets no answer (MCP 2025-11-25, Cancellation).
            for message in exchange.look_ahead():
                if (
                    isinstance(message, jsonrpc.Notification)
                    and message.method == "notifications/cancelled"
                    and (message.params or {}).get("requestId") == request.id
                ):
                    logger.info("the server cancelled its request %r", request.method)
                    return
        self.transport.post(self.era, self.session, answer, effort)

    def read_notification(self, message: jsonrpc.Notification) -> Record | None:
        """The notification as a model; None, and a line in the log, if it is malformed."""
        from ..protocol.models.notifications import parse_notification

        try:
            return parse_notification(message.method, message.params)
        except InvalidResult as error:
            logger.warning("dropped a malformed notification: %s", error)
            return None

    def notify(self, message: jsonrpc.Notification, effort: Effort) -> None:
        self.transport.post(self.era, self.ready(effort), message, effort)

    def tell_cancelled(self, request_id: jsonrpc.RequestId, method: str, reason: str) -> None:
        """Ask the server to stop working on a request. Bounded, and never raises: the caller has news of its own."""
        if method == "initialize":  # "The initialize request MUST NOT be cancelled by clients", ibid.
            return
        message = self.era.cancellation(request_id, reason)
        if message is None:
            return
        try:
            self.transport.post(self.era, self.session, message, Effort(_FAREWELL, _ONCE))
        except StreamHTTPError as error:
            logger.info("the server could not be told that a call was cancelled: %s", error)

    # -- handshake

    def _handshaking(self, effort: Effort) -> _Handshake:
        return _Handshake(self._handshake, effort, self._efforts)

    def _shake_hands(self, effort: Effort) -> Session:
        """MCP 2025-11-25, basic/lifecycle, Initialization. The lock is held."""
        offer = self._offer
        capabilities = self.callbacks.capabilities()
        while True:
            try:
                session = self._initialize(offer, capabilities, effort)
                break
            except RPCError as error:
                other = self._counter_offer(error, offer)
                if other is None:
                    raise
                offer = other
        self.era = StatefulEra(find_revision(session.protocol_version or "") or offer)
        self.transport.post(self.era, session, calls.initialized(), effort)
        self.session = session
        return session

    def _initialize(self, offer: Revision, capabilities: Mapping[str, Any], effort: Effort) -> Session:
        operation = calls.initialize(offer.name, capabilities=capabilities, client_info=self._client_info)
        while True:
            request = jsonrpc.Request(self.next_id(), operation.method, operation.params)
            exchange = self.transport.request(StatefulEra(offer), None, request, effort)
            try:
                result = operation.parse(self._await_response(exchange, effort))
                break
            except StreamHTTPError as error:
                # Nothing was agreed yet, so beginning again changes nothing.
                if not getattr(error, "may_have_executed", False) or effort.deadline.expired or not effort.again():
                    raise
            finally:
                exchange.close()
        version = result.protocol_version
        if find_revision(version) is None or (self._pinned and version != self._offer.name):
            raise UnsupportedVersion(
                f"offered revision {offer.name!r}, and the server wants {version!r:.40}, which is not acceptable here",
                requested=offer.name,
                supported=(version,),
            )
        session_id = None if exchange.headers is None else exchange.headers.get("mcp-session-id")
        return Session(
            url=self._shown_url,
            session_id=None if session_id is None else self.era.check_session_id(session_id),
            protocol_version=version,
            server_info=result.server_info,
            capabilities=result.capabilities,
            instructions=result.instructions,
        )

    def _await_response(self, exchange: Exchange, effort: Effort) -> Any:
        for message in exchange:
            if isinstance(message, jsonrpc.Response):
                if message.id != exchange.request_id:
                    raise RemoteProtocolError(
                        f"expected the response to request {exchange.request_id!r}, got one for {message.id!r:.80}"
                    )
                return message.result
            if isinstance(message, jsonrpc.ErrorResponse):
                raise rpc_error(message)
            if isinstance(message, jsonrpc.Request):
                self.serve(message, effort)
        raise RemoteProtocolError("the answer to 'initialize' holds no response")

    def _counter_offer(self, error: RPCError, offer: Revision) -> Revision | None:
        """A revision that the server named when it refused ours, or None."""
        supported = error.data.get("supported") if isinstance(error.data, Mapping) else None
        if self._pinned or not isinstance(supported, list):
            return None
        known = (find_revision(name) for name in supported if isinstance(name, str) and name != offer.name)
        return max((revision for revision in known if revision), key=lambda revision: revision.name, default=None)

    def _restore(self, effort: Effort) -> None:
        """Set in a new session what the user had set in the old one."""
        operations = [calls.subscribe_resource(uri) for uri in sorted(self.subscriptions)]
        if self.log_level is not None:
            operations.append(calls.set_logging_level(self.log_level))
        for operation in operations:
            request = jsonrpc.Request(self.next_id(), operation.method, operation.params)
            exchange = self.transport.request(self.era, self.session, request, effort)
            try:
                self._await_response(exchange, effort)
            except StreamHTTPError as error:
                logger.warning("%s could not be repeated in the new session: %s", operation.method, error)
            finally:
                exchange.close()

    # -- the end

    def register(self, effort: Effort) -> None:
        """Have close() wake whatever this effort is for."""
        self._efforts[id(effort)] = effort
        if self._closed:
            effort.interrupt.fire()

    def unregister(self, effort: Effort) -> None:
        self._efforts.pop(id(effort), None)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self, *, end_session: bool) -> None:
        """Wake all calls, say goodbye, let the connections go. Takes about two seconds at the most."""
        if self._closed:
            return
        self._closed = True
        session, same_process = self.session, self._pid == os.getpid()
        for call in self.active():
            call._effort.interrupt.fire()
        for effort in list(self._efforts.values()):
            effort.interrupt.fire()
        if self._listener is not None and same_process:
            self._listener.close()
        if end_session and same_process and session is not None and session.session_id and self.era.ends_session:
            try:
                self.transport.end(self.era, session, Effort(_FAREWELL, _ONCE))
            except StreamHTTPError as error:
                logger.info("the server could not be told that the session is over: %s", error)
        self._http.close()

    def _after_fork(self) -> None:
        """In a forked child: the session goes on, with new connections, new locks, and ids of its own."""
        self._pid = os.getpid()
        self._handshake = threading.Lock()
        self._listening = threading.Lock()
        self._listener, self._listeners = None, 0
        self._active.clear()
        self._efforts.clear()
        self._ids = _distant_ids()


class _Handshake:
    """Holds the handshake lock, and waits for it no longer than the call may take."""

    def __init__(self, lock: threading.Lock, effort: Effort, efforts: dict[int, Effort]) -> None:
        self._lock = lock
        self._effort = effort
        self._efforts = efforts

    def __enter__(self) -> None:
        left = self._effort.deadline.remaining()
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise CallTimeout("another thread is still connecting", may_have_executed=False)
        self._known = id(self._effort) in self._efforts
        self._efforts[id(self._effort)] = self._effort

    def __exit__(self, *_: object) -> None:
        if not self._known:
            self._efforts.pop(id(self._effort), None)
        self._lock.release()


def _distant_ids() -> itertools.count[int]:
    """Request ids that nobody else is likely to use, exact in JavaScript (below 2**53)."""
    return itertools.count(int.from_bytes(os.urandom(5), "big") * 1000 + 1_000_000)
