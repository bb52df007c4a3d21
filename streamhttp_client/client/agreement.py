"""Finding out how a server speaks, and agreeing with it: the steps of ``protocol/negotiation.py``, taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..exceptions import (
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    ContentTypeError,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
    RPCError,
    StreamHTTPError,
    TransportError,
    UnsupportedVersion,
)
from ..net.http import HTTP
from ..net.retry import Effort
from ..net.timeouts import Timeout
from ..protocol import calls, negotiation
from ..protocol.negotiation import Step
from ..protocol.session import Session
from ..protocol.versions import LATEST, LATEST_SESSION, Revision, find_revision, get_revision
from ..transport.answers import await_response
from ..transport.link import Link
from ..transport.streamable import StreamableTransport
from .eras import KNOWN_SERVERS

if TYPE_CHECKING:
    from ..protocol.era import Era
    from .handshake import Handshake

__all__ = ["Agreement"]

logger = logging.getLogger("streamhttp_client")

# What a server may take to say something to the probe. One of before 2026-07-28 may be silent on a method that it does
# not know, and the official servers answer within milliseconds.
_PROBE_SECONDS = 10.0


class Agreement:
    """Makes links to one server. Holds no state of its own: threads share it.

    Args:
        http: What sends the requests.
        url: The endpoint.
        shown_url: The same without credentials.
        pinned: The one revision that will do, or None to find out.
        capabilities: What this client can be asked for; of it, each revision is told what there is in it.
        client_info: How it introduces itself.
        next_id: Gives request ids.
        max_message_size: Bytes of one answer or one event.
    """

    def __init__(
        self,
        http: HTTP,
        url: str,
        *,
        shown_url: str,
        pinned: Revision | None,
        capabilities: Mapping[str, Any],
        client_info: Mapping[str, Any],
        next_id: Callable[[], jsonrpc.RequestId],
        max_message_size: int,
    ) -> None:
        self._http = http
        self._url = url
        self._shown_url = shown_url
        self._pinned = pinned
        self._capabilities = capabilities
        self._client_info = client_info
        self._next_id = next_id
        self._max_message_size = max_message_size
        self._transport = StreamableTransport(http, url, max_message_size=max_message_size)

    def take_up(self, session: Session) -> Link | None:
        """The link of a saved session; None if it cannot outlive the connection that it was made on.

        Raises:
            LocalProtocolError: It is in a revision that is not spoken here, or not wanted.
        """
        pinned = self._pinned
        if pinned is not None and session.protocol_version not in (None, pinned.name):
            raise LocalProtocolError(
                f"the saved session speaks revision {session.protocol_version!r:.40}, and no other than {pinned.name} "
                "was wanted: resume it without protocol=, or begin a new one"
            )
        revision = LATEST_SESSION if session.protocol_version is None else get_revision(session.protocol_version)
        channel = session.era == "http+sse"
        if KNOWN_SERVERS.first_step(self._url) is None:  # what was found out in this process is younger
            self._learn(revision, channel=channel, probed=False)
        if channel:
            return None
        return Link(self._era(revision), session, self._transport, ("as the saved session has it",))

    def agree(self, effort: Effort, farewell: Callable[[Link], object], doubted: Link | None = None) -> Link:
        """Find out how the server speaks, as far as that is not known, and begin to.

        Args:
            effort: The limits of the call that needs it.
            farewell: Ends what was begun and cannot be used.
            doubted: A link on which the server has answered as one of another era does. It is given back if that was
                not so: a session is not begun anew for it.

        Raises:
            UnsupportedVersion: No revision in common.
            StreamHTTPError: What the server answered to the last thing that was tried.
        """
        if doubted is not None:
            KNOWN_SERVERS.forget(self._url)
        step, way = self._first_step(), _Way()
        refused: StreamHTTPError | None = None
        try:
            while True:
                if step.action == "fail":
                    assert refused is not None
                    raise way.telling(refused)
                if step.why:
                    way.steps.append(step.why)
                try:
                    outcome = self._take(step, way, effort, farewell, doubted)
                except StreamHTTPError as error:
                    if _is_final(error, effort):
                        raise
                    if step.action == "channel" and refused is not None:
                        logger.info("there is no stream of 2024-11-05 either: %s", str(error))
                        KNOWN_SERVERS.forget(self._url)
                        if isinstance(error, RemoteProtocolError) and not isinstance(error, ContentTypeError):
                            # It opened a stream, and so is nearer to what it was taken for than its refusal says.
                            refused.args = (f"{refused}; a GET opens a stream, but {error}",)
                        raise refused from None
                    refused = error
                    way.refused(step, error)
                    outcome = self._after(step, error, way.probed)
                if isinstance(outcome, Link):
                    return outcome
                step = outcome
        finally:
            # Their tracebacks lead here, and would keep the connections that they came on.
            refused = way.objection = None

    def _take(
        self,
        step: Step,
        way: _Way,
        effort: Effort,
        farewell: Callable[[Link], object],
        doubted: Link | None,
    ) -> Link | Step:
        """Take one step; give the link that it led to, or the next step."""
        steps = way.steps
        if step.action == "speak":
            return self._speak(step.revision or LATEST, steps)
        if step.action == "shake":
            if doubted is not None and doubted.era.session_lasts and not way.nobody_there:
                self._learn(doubted.era.revision)
                return doubted
            return self._shake(step.revision, way, effort, farewell)
        if step.action == "channel":
            return self._open_channel(step.revision, way, effort, farewell)
        session, versions = self._probe(step.revision or LATEST, effort)
        way.probed.append((step.revision or LATEST).name)
        following = negotiation.after_discovery(versions)
        if following.action == "speak" and following.revision is not None:
            return self._speak(following.revision, [*steps, following.why], session)
        return following

    def _probe(self, revision: Revision, effort: Effort) -> tuple[Session, list[str]]:
        """Discover a server that may not know what that is: one that stays silent must leave time for the handshake."""
        while True:
            bound = _patience(effort)
            if bound == 0.0:
                raise CallTimeout("no time was left to ask the server", may_have_executed=False)
            part = Effort(Timeout(effort.timeout.connect, None, bound), effort.policy, effort.interrupt)
            try:
                return self.discover(revision, part)
            except CallTimeout as error:
                if effort.deadline.expired:
                    words = f"no answer within {effort.deadline.seconds:g} s"
                    raise CallTimeout(words, may_have_executed=False) from error
                raise ReadTimeout(f"the server did not answer the probe within {bound:.3g} s") from error
            except ConnectionLost as error:
                # A connection that breaks says nothing of the server; one that breaks again and again may.
                if isinstance(error, ReadTimeout) or effort.attempts > 1 or not effort.again():
                    raise

    def discover(self, revision: Revision, effort: Effort) -> tuple[Session, list[str]]:
        """Ask a server of the stateless era who it is; a session that says so, and the revisions that it speaks.

        Args:
            revision: In which to ask.
            effort: The limits.
        """
        operation, era = calls.discover(), self._era(revision)
        session = Session(url=self._shown_url, protocol_version=revision.name, era=era.name)
        request = jsonrpc.Request(self._next_id(), operation.method, era.dress(operation.params, log_level=None))
        exchange = self._transport.request(era, session, request, effort)
        try:
            raw = await_response(exchange, _ignore)
        finally:
            exchange.close()
        era.result_kind(operation.method, raw)
        result = operation.parse(raw)
        found = {
            "server_info": result.server_info,
            "capabilities": result.capabilities,
            "instructions": result.instructions,
        }
        return Session(**{**session.__dict__, **found}), list(result.supported_versions)

    def check_doubts(self, failure: StreamHTTPError) -> None:
        """The server has answered as one of another era does. Is it to be found out again how it speaks?

        Raises:
            UnsupportedVersion: No: the caller wanted it so.
        """
        if self._pinned is not None:
            if isinstance(failure, UnsupportedVersion):
                raise failure
            raise UnsupportedVersion(
                f"the server does not answer as one of revision {self._pinned.name} does, and no other was wanted; "
                f"protocol='auto' finds out what it speaks ({failure})",
                requested=self._pinned.name,
                code=getattr(failure, "code", None),
                data=getattr(failure, "data", None),
                status=getattr(failure, "status", None),
                headers=getattr(failure, "headers", None),
                body=getattr(failure, "body", b""),
            ) from failure

    # -- the steps

    def _first_step(self) -> Step:
        pinned = self._pinned
        if pinned is None:
            return KNOWN_SERVERS.first_step(self._url) or Step("probe", LATEST)
        if pinned.two_channels:
            return Step("channel", pinned)
        return Step("shake" if pinned.handshake else "speak", pinned, "as the caller wanted")

    def _after(self, step: Step, error: StreamHTTPError, probed: Sequence[str]) -> Step:
        if self._pinned is not None:
            if negotiation.is_modern_error(error):
                versions = negotiation.supported(error) or ()
                speaks = f"speaks {', '.join(map(repr, versions))[:200]}" if versions else "knows no handshake"
                raise UnsupportedVersion(
                    f"only revision {self._pinned.name} was wanted, and the server {speaks}; protocol='auto' finds out "
                    "what it speaks",
                    requested=self._pinned.name,
                    supported=versions,
                ) from error
            if getattr(error, "status", None) in (400, 404, 405):
                error.args = (f"{error}; only revision {self._pinned.name} was tried, as the caller wanted",)
            raise error
        if step.action == "channel":
            return Step("probe", LATEST, "it does not speak as it was known to")
        if step.action == "probe":
            return negotiation.after_probe(error, probed)
        return negotiation.after_handshake(error, probed=bool(probed))

    def _speak(self, revision: Revision, steps: list[str], session: Session | None = None) -> Link:
        """Nothing is to be agreed: each request says all."""
        era = self._era(revision)
        fields = {"url": self._shown_url} if session is None else session.__dict__
        agreed = Session(**{**fields, "protocol_version": revision.name, "era": era.name})
        self._learn(revision)
        return Link(era, agreed, self._transport, tuple(steps))

    def _shake(
        self, offer: Revision | None, way: _Way, effort: Effort, farewell: Callable[[Link], object]
    ) -> Link:
        from ..protocol.stateful import StatefulEra

        link = self._handshake().shake(
            self._transport,
            StatefulEra,
            offer or LATEST_SESSION,
            effort,
            farewell,
            pinned=self._pinned is not None,
        )
        if way.sure:
            self._learn(link.era.revision, probed=bool(way.probed))
        agreed = f"initialize agreed on {link.era.revision.name}"
        return Link(link.era, link.session, link.transport, (*way.steps, agreed))

    def _open_channel(
        self, offer: Revision | None, way: _Way, effort: Effort, farewell: Callable[[Link], object]
    ) -> Link:
        from ..protocol.two_channels import TwoChannelsEra
        from ..transport.http_sse import HTTPSSETransport

        transport = HTTPSSETransport(self._http, self._url, max_message_size=self._max_message_size)
        try:
            # A server of another era may open a stream for the same GET, and have nothing to say on it.
            transport.open(effort, None if self._pinned is not None else _patience(effort))
            link = self._handshake().shake(
                transport,
                TwoChannelsEra,
                offer or LATEST_SESSION,  # servers that kept this transport may speak a later revision on it
                effort,
                farewell,
                pinned=self._pinned is not None,
            )
        except BaseException:
            transport.close()
            raise
        if way.sure:
            self._learn(link.era.revision, channel=True, probed=bool(way.probed))
        agreed = f"a GET opened the stream of HTTP+SSE, and initialize agreed on {link.era.revision.name}"
        return Link(link.era, link.session, link.transport, (*way.steps, agreed))

    def _learn(self, revision: Revision, *, channel: bool = False, probed: bool = True) -> None:
        if self._pinned is None:  # else it says what the caller wants, and not what the server does
            KNOWN_SERVERS.learn(self._url, revision, channel=channel, probed=probed)

    # What one kind of servers alone needs is imported when one is met: it costs a start some milliseconds.

    def _handshake(self) -> Handshake:
        from .handshake import Handshake

        return Handshake(
            shown_url=self._shown_url,
            capabilities=self._capabilities,
            client_info=self._client_info,
            next_id=self._next_id,
        )

    def _era(self, revision: Revision) -> Era:
        if revision.handshake:
            from ..protocol.stateful import StatefulEra

            return StatefulEra(revision)
        from ..protocol.stateless import StatelessEra

        capabilities = revision.declared(self._capabilities)
        return StatelessEra(revision, capabilities=capabilities, client_info=self._client_info)


class _Way:
    """What was tried until now.

    Attributes:
        steps: In words.
        probed: Revisions with which the server was probed, and which it refused; or it named only older ones.
        sure: Whether all that was refused was refused by a server that understood that it was asked something. What a
            gateway in trouble says, or silence, is nothing to be remembered.
        nobody_there: Whether the address does not take requests at all, as far as the last refusal goes.
        objection: What came of the last probe that did not lead anywhere.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.probed: list[str] = []
        self.sure = True
        self.nobody_there = False
        self.objection: StreamHTTPError | None = None
        self._lost = 0

    def refused(self, step: Step, error: StreamHTTPError) -> None:
        """A step did not lead anywhere."""
        status = getattr(error, "status", None)
        self.nobody_there = status in (404, 405)
        if isinstance(error, ConnectionLost) or status is not None and status >= 500:
            self.sure = False
        if step.action == "probe":
            self.objection = error
            # A probe that was lost has told nothing; but a server that loses each of them must come to an end.
            self._lost += isinstance(error, ConnectionLost)
            if self._lost != 1:
                self.probed.append((step.revision or LATEST).name)

    def telling(self, refused: StreamHTTPError) -> StreamHTTPError:
        """The error that says most, where nothing is left to try and ``refused`` is the last one."""
        objection = self.objection
        if objection is None:
            return refused
        if isinstance(refused, UnsupportedVersion) and not any(map(find_revision, refused.supported)):
            return refused  # it names what it speaks
        # What a server of the stateless era has against the probe says more than that it knows no handshake.
        if isinstance(objection, RPCError) or negotiation.knows_no_handshake(refused):
            return objection
        return refused


def _patience(effort: Effort) -> float:
    """Seconds for a server that may not know what it is asked: there must be time left to ask otherwise."""
    left, read = effort.deadline.remaining(), effort.timeout.read
    return min(seconds for seconds in (_PROBE_SECONDS, read, None if left is None else left / 2) if seconds is not None)


def _is_final(error: StreamHTTPError, effort: Effort) -> bool:
    """Whether it says nothing of how the server speaks: it did not answer, or is not asked any more."""
    if isinstance(error, (LocalProtocolError, ClientClosed, UnsupportedVersion)) and not isinstance(
        error, RemoteProtocolError
    ):
        return True
    if isinstance(error, UnsupportedVersion):
        return getattr(error, "code", None) is None  # found here, and not said by the server
    if isinstance(error, ConnectionLost):
        return effort.deadline.expired
    return isinstance(error, TransportError)


def _ignore(request: jsonrpc.Request) -> None:
    logger.warning("the server asked %r, which this revision does not have", request.method)
