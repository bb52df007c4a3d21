"""What keeps a client going: its session and the renewal of it, the calls under way, and their end.

Threads share an engine. The session is a frozen value that is replaced whole, so reading it needs no lock; a turn is
taken to begin one, and no code of the user runs meanwhile.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from .._headers import Headers
from .._record import Record
from ..exceptions import (
    CapabilityError,
    ClientClosed,
    InvalidResult,
    MethodNotFound,
    SessionExpired,
    StreamHTTPError,
)
from ..net.http import HTTP
from ..net.retry import Effort, RetryPolicy
from ..net.timeouts import Deadline, Timeout
from ..protocol import calls
from ..protocol.negotiation import is_modern_error
from ..protocol.session import Session
from ..transport.answers import await_response
from ..transport.link import Link, LookAhead
from .agreement import Agreement
from .background import BackgroundListening
from .callbacks import Callbacks
from .serving import Serving
from .tools import KnownTools
from .turns import Turns
from .work import FAREWELL_SECONDS, Work

if TYPE_CHECKING:
    from .cache import ResultCache

__all__ = ["Engine", "RequestIds"]

logger = logging.getLogger("streamhttp_client")

_ONCE = RetryPolicy(attempts=1)
# For how long a doubt that led nowhere is not looked into again: what a gateway says while a server is replaced must
# not make four requests of each call.
_DOUBT_SECONDS = 5.0


class Engine:
    """See the module.

    Attributes:
        link: How it was agreed to talk with the server, or None.
        tools: What is known of the server's tools.
        kept: Results that the server allows to be kept; None before there was one of them.
        work: What is under way.
        listing_tools: One thread lists the tools, and others that need the list wait for it.
    """

    def __init__(
        self,
        http: HTTP,
        url: str,
        agreement: Agreement,
        listening: BackgroundListening,
        *,
        link: Link | None,
        callbacks: Callbacks,
        timeout: Timeout,
        retry: RetryPolicy,
        renews: bool,
        ids: RequestIds,
        on_log: Callable[[Any], object] | None,
        on_notification: Callable[[Any], object] | None,
        on_session_renewed: Callable[[Session, Session], object] | None,
    ) -> None:
        self.link = link
        self.tools = KnownTools()
        self.kept: ResultCache | None = None
        self.callbacks = callbacks
        self.timeout = timeout
        self.retry = retry
        self.renews = renews
        self.on_log = on_log
        self.on_notification = on_notification
        self.expired: Link | None = None  # one that the server has ended and that no call renewed
        self.log_level: str | None = None
        self.subscriptions: set[str] = set()
        self.listening = listening
        listening.engine = self
        self._http = http
        self._url = url
        self._agreement = agreement
        self._on_session_renewed = on_session_renewed
        self._began_session = False  # and not merely taken one up
        # A link that was doubted in vain; whether it was found to be good; and until when it is not doubted again.
        self._trusted: tuple[Link | None, bool, float] = None, False, 0.0
        self._about: tuple[Link, Session, float] | None = None  # what a server said of itself when asked, and when
        self._declared: tuple[Session | None, dict[str, bool]] = (None, {})  # answers of require(), for one session
        self._serving = Serving(callbacks)
        self.work = Work()
        self._pid = os.getpid()
        self._turns = Turns()
        self.listing_tools = Turns()
        self._ids = ids

    # -- for calls

    def next_id(self) -> int:
        return self._ids.next()

    @property
    def session(self) -> Session | None:
        """The present one, or None."""
        link = self.link
        return None if link is None else self._known(link)

    def ready(self, effort: Effort, *, may_be_asked: bool = False) -> Link:
        """How to talk with the server; begins if that is not known yet.

        Args:
            effort: The limits of the call that needs it.
            may_be_asked: Whether the call may make the server ask something, so that it has to be heard by then.
        """
        self.check_process()
        if self.closed:
            raise ClientClosed("the client is closed")
        link = self.link
        if link is None:
            link, _ = self._begin(effort, None)
        self.listening.ensure(link, effort, wait=may_be_asked)
        return link

    def renew(self, old: Link, effort: Effort) -> None:
        """Begin a new session after ``old``, unless another thread has done it by now."""
        new, begun = self._begin(effort, old)
        if not begun:
            return
        logger.info("the server had ended the session; a new one was started")
        self._changed(new, effort)
        if self._on_session_renewed is not None:
            self._on_session_renewed(old.session, new.session)

    def heal(
        self, link: Link, failure: StreamHTTPError, effort: Effort, tried: set[str], *, renewable: bool = True
    ) -> bool:
        """Do what makes it worth sending again what was refused, and so did not run; False if there is nothing to do.

        Args:
            link: On which it was sent.
            failure: How it was refused.
            effort: The limits of whoever sends it.
            tried: What was done for it already: each remedy is used once.
            renewable: Whether it means the same in a new session.

        Raises:
            StreamHTTPError: What went wrong meanwhile; UnsupportedVersion if no other revision was wanted.
        """
        if isinstance(failure, SessionExpired):
            if "renew" in tried or not self.renews or not renewable:
                self.expired = link
                return False
            tried.add("renew")
            self.renew(link, effort)
            return True
        if "agree" in tried or not link.era.is_foreign(failure):
            return False
        tried.add("agree")
        return self.agree_anew(link, failure, effort)

    def agree_anew(self, old: Link, failure: StreamHTTPError, effort: Effort) -> bool:
        """The server has answered as one of another era does: find out again; whether it is another than ``old``.

        Raises:
            UnsupportedVersion: No other revision was wanted.
            SessionExpired: It is another, but the session is not to be replaced.
        """
        self._agreement.check_doubts(failure)
        trusted, good, until = self._trusted
        if old is trusted and (time.monotonic() < until or good and not is_modern_error(failure)):
            return False  # it was doubted before, in vain; finding out may take seconds
        in_session = old.session.session_id is not None
        try:
            if in_session and not self.renews:
                new, begun = self._agreement.agree(effort, self._say_goodbye, old), False
            else:
                new, begun = self._begin(effort, old, doubted=True)
        except StreamHTTPError:
            self._trusted = old, False, time.monotonic() + _DOUBT_SECONDS
            raise
        if new is not old and in_session and not self.renews:
            self._say_goodbye(new)
            new.transport.close()
            self.expired = old
            raise SessionExpired(
                f"the session is over: the server speaks revision {new.era.revision.name} now, and not as it did",
                status=404,  # which is what a server says that knows no such session any more
                headers=Headers(),
            ) from failure
        other = new.era.revision is not old.era.revision or new.era.name != old.era.name
        if not other and (new is old or begun):
            self._trusted = new, new is old, time.monotonic() + _DOUBT_SECONDS
        if begun and other:
            logger.info("the server now speaks revision %s, not %s", new.era.revision.name, old.era.revision.name)
            self._changed(new, effort)
            if in_session and self._on_session_renewed is not None:
                self._on_session_renewed(old.session, new.session)
        return other

    def connect(self, effort: Effort) -> Link:
        """A link that is not known to be over; begins one if need be, also where calls do not renew it."""
        if self.expired is not None and self.expired is self.link:
            self.renew(self.expired, effort)
        return self.ready(effort)

    def introduced(self, effort: Effort) -> Session:
        """The session with what the server says of itself, which is asked for if it was not said yet."""
        link = self.ready(effort.begin())
        session = self._known(link)
        if session.server_info is None and session.capabilities is None and not link.era.introduces_itself:
            return self._introduce(link, effort)
        return session

    def _known(self, link: Link) -> Session:
        """The session of a link, with what its server has said of itself."""
        about = self._about
        return about[1] if about is not None and about[0] is link else link.session

    def _introduce(self, link: Link, effort: Effort) -> Session:
        """Ask the server who it is, where that is asked for by itself."""
        try:
            with self.work.awake(effort):
                session, _ = self._agreement.discover(link.era.revision, effort)
        except MethodNotFound:
            session = link.session  # it must answer this, and does not
        except StreamHTTPError as error:
            if not self.heal(link, error, effort, set()):
                raise
            return self.ready(effort).session
        self._about = link, session, time.monotonic()
        return session

    def _begin(self, effort: Effort, old: Link | None, *, doubted: bool = False) -> tuple[Link, bool]:
        """A link other than ``old``, and whether it was begun here. One thread does it, the others wait and find it.

        Args:
            effort: The limits of whoever needs it.
            old: What cannot be used any more.
            doubted: It may be that it can.
        """
        with self.work.awake(effort), self._turns.turn(effort, "connecting"):
            if self.closed:
                raise ClientClosed("the client is closed")
            if self.link is not None and self.link is not old:
                return self.link, False
            link = self._agreement.agree(effort, self._say_goodbye, old if doubted else None)
            if link is old:
                return link, False
            self.link = link
            self._began_session = True
            if self.closed:  # meanwhile, perhaps before there was anything to say goodbye to
                self._say_goodbye(link)
                link.transport.close()
                raise ClientClosed("the client is closed")
            if old is not None and old.transport is not link.transport:
                old.transport.close()
            return link, True

    def _changed(self, link: Link, effort: Effort) -> None:
        """Another session, perhaps with another server: set in it what the user had set in the old one."""
        self._forget()
        if not link.era.keeps_wishes:
            return
        operations = [calls.subscribe_resource(uri) for uri in sorted(self.subscriptions)]
        if self.log_level is not None:
            operations.append(calls.set_logging_level(self.log_level))
        for operation in operations:
            exchange = link.request(jsonrpc.Request(self.next_id(), operation.method, operation.params), effort)
            try:
                await_response(exchange, lambda asked, exchange=exchange: self.serve(link, asked, effort, exchange))  # type: ignore[misc]
            except StreamHTTPError as error:
                logger.warning("%s could not be repeated in the new session: %s", operation.method, str(error))
            finally:
                exchange.close()

    def require(self, link: Link, operation: calls.Operation[Any], effort: Effort) -> None:
        """Raise CapabilityError if the server did not declare what an operation needs.

        "Both parties MUST only use capabilities that were successfully negotiated." MCP 2025-11-25, Operation.
        """
        path, session = operation.capability, self._known(link)
        if path is None or session.capabilities is None or path in link.era.revision.undeclared:
            return
        known, answers = self._declared
        if known is not session:
            self._declared = (session, answers := {})
        declared = answers.get(path)
        if declared is None:
            declared = answers[path] = session.capabilities.declares(path)
        about = self._about
        if not declared and not link.era.introduces_itself:
            # Nothing was agreed for good: the server may have learned it since it was last asked.
            if about is None or about[0] is not link or time.monotonic() - about[2] > _DOUBT_SECONDS:
                now = self._introduce(link, effort).capabilities
                declared = now is None or now.declares(path)
        if not declared:
            raise CapabilityError(f"{operation.method!r} needs capability {path!r}, which the server did not declare")

    def serve(self, link: Link, request: jsonrpc.Request, effort: Effort, stream: LookAhead) -> None:
        """Answer what the server asked; see :meth:`Serving.serve`."""
        self._serving.serve(link, request, effort, stream, lasting=link is self.link)

    def read_notification(self, message: jsonrpc.Notification) -> Record | None:
        """The notification as a model; None, and a line in the log, if it is malformed."""
        from ..protocol.models.notifications import parse_notification

        if message.method == "notifications/tools/list_changed":
            self.tools.forget()
        if self.kept is not None:
            self.kept.invalidate(message.method, message.params)
        try:
            return parse_notification(message.method, message.params)
        except InvalidResult as error:
            logger.warning("dropped a malformed notification: %s", str(error))
            return None

    @property
    def credentials(self) -> str:
        """What tells the credentials that a request would have now apart from others."""
        return self._http.credentials(self._url)

    def subscription(self, link: Link) -> jsonrpc.Request:
        """The request that asks for all changes, and for those of the resources that the user has subscribed to."""
        operation = calls.listen(
            {
                "toolsListChanged": True,
                "promptsListChanged": True,
                "resourcesListChanged": True,
                **({"resourceSubscriptions": sorted(self.subscriptions)} if self.subscriptions else {}),
            }
        )
        params = link.era.dress(operation.params, log_level=None)
        return jsonrpc.Request(self.next_id(), operation.method, params)

    def missed(self, link: Link) -> None:
        """The listening stream was away for a while: if nothing is sent again, what was known may not hold any more."""
        if link.era.listening == "subscription":
            self._forget()

    def _forget(self) -> None:
        """What was known of the server may not hold any more."""
        self.tools.forget()
        if self.kept is not None:
            self.kept.clear()

    def notify(self, message: jsonrpc.Notification, effort: Effort) -> None:
        """Send a notification, once more if it was refused for a reason that can be mended."""
        tried: set[str] = set()
        with self.work.awake(effort.begin()):
            while True:
                link = self.ready(effort)
                try:
                    link.post(message, effort)
                    return
                except StreamHTTPError as error:
                    if not self.heal(link, error, effort, tried):
                        raise

    def level(self, wanted: bool) -> str | None:
        """The least severe log messages to ask for with a request.

        Args:
            wanted: Whether the caller of this request listens for them. "info" then, if no level was set: since
                2026-07-28 a server says nothing without being asked, and before it, most say that much.
        """
        if self.log_level is None and (wanted or self.on_log is not None):
            return "info"
        return self.log_level

    def mirrored(self, link: Link, operation: calls.Operation[Any]) -> dict[str, str] | None:
        """The arguments of a tool call that go into headers too."""
        if operation.method != "tools/call" or not link.era.mirrors_arguments or operation.params is None:
            return None
        return self.tools.headers(operation.params.get("name", ""), operation.params.get("arguments"))

    def tell_task_cancelled(self, task_id: str, seconds: float = FAREWELL_SECONDS) -> None:
        """Say that a task is no longer wanted. Bounded, and never raises."""
        link = self.link
        if link is None:
            return
        operation = link.era.end_task(task_id)
        params = link.era.dress(operation.params, log_level=None)
        exchange = link.request(
            jsonrpc.Request(self.next_id(), operation.method, params), _farewell(seconds)
        )
        try:
            await_response(exchange, lambda asked: None)
        except StreamHTTPError as error:
            logger.info("the server could not be told that a task was cancelled: %s", str(error))
        finally:
            exchange.close()

    def tell_cancelled(
        self, link: Link, request_id: jsonrpc.RequestId, reason: str, seconds: float = FAREWELL_SECONDS
    ) -> None:
        """Ask the server to stop working on a request. Bounded, and never raises: the caller has news of its own."""
        message = link.era.cancellation(request_id, reason)
        if message is None:
            return
        try:
            link.post(message, _farewell(seconds))
        except StreamHTTPError as error:
            logger.info("the server could not be told that a call was cancelled: %s", str(error))

    # -- the end

    @property
    def closed(self) -> bool:
        return self.work.closed

    def close(self, *, end_session: bool | None) -> None:
        """Wake all calls, say goodbye, let the connections go. Takes about two seconds at the most.

        Args:
            end_session: Whether to end the session on the server; None if it was begun here.
        """
        self.check_process()
        if self.closed:
            return
        deadline = Deadline(FAREWELL_SECONDS)
        under_way = self.work.close()
        try:
            self.listening.stop(FAREWELL_SECONDS / 2)
            for call in under_way:
                call.give_up(0.0 if end_session is False else deadline.remaining() or 0.0)
            link = self.link
            if link is not None:
                if self._began_session if end_session is None else end_session:
                    self._say_goodbye(link, deadline.remaining() or 0.0)
                link.transport.close()
        finally:  # also when Ctrl-C ends the goodbye, for there is no second one
            self._http.close()

    def abandon(self) -> None:
        """Nobody holds the client any more, and nobody closed it: let go of what would live on."""
        if not self.closed and self._pid == os.getpid():
            self.work.close()
            self._http.close()  # a stream of HTTP+SSE ends with its transport, without waiting for its reader

    def _say_goodbye(self, link: Link, seconds: float = FAREWELL_SECONDS) -> None:
        if seconds <= 0:
            return
        try:
            link.end(_farewell(seconds))
        except StreamHTTPError as error:
            logger.info("the server could not be told that the session is over: %s", str(error))

    def check_process(self) -> None:
        """In a forked child, the session goes on with new connections, new locks and no calls of the parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._turns = Turns()
            self.listing_tools = Turns()
            self.work.check_process()
            self._began_session = False  # the parent did
            self.listening.begin_anew()
            self._ids.begin_anew()


class RequestIds:
    """Request ids that nobody else is likely to use, exact in JavaScript (below 2**53).

    "The request ID MUST NOT have been previously used by the requestor within the same session" (MCP 2025-11-25,
    basic/index), and another process may go on with the session. Nor may ids be those of another client: servers made
    with the official SDKs (Python 1.30 and 2.3) keep one event store for all sessions and name a stream by the request
    id alone, so that two clients which count from 1 get each other's answers when they resume.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from somewhere else: in a forked child."""
        self._ids = itertools.count(int.from_bytes(os.urandom(5), "big") * 1000 + 1_000_000)

    def next(self) -> int:
        return next(self._ids)


def _farewell(seconds: float) -> Effort:
    return Effort(Timeout(connect=min(1.0, seconds), total=seconds), _ONCE)
