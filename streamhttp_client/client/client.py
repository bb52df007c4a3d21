"""The user's object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import LocalProtocolError
from ..net.http import AuthLike
from ..net.retry import Effort, RetryPolicy
from ..net.target import check_url
from ..net.timeouts import Timeout, TimeoutLike
from ..progress import OnProgress
from ..protocol import calls
from ..protocol.calls import Operation
from ..protocol.session import Session
from .call import Call
from .callbacks import ElicitationCallback, RootsLike, SamplingCallback
from .options import DEFAULT_MAX_MESSAGE_SIZE, Options
from .run import Run, raw_object
from .tasks import TaskVerbs
from .verbs import Verbs

if TYPE_CHECKING:
    import requests

    from ..protocol.models.notifications import LogMessage
    from .listener import Listener

__all__ = ["Client"]


class Client(Verbs, TaskVerbs):
    """A blocking client of one MCP server over Streamable HTTP.

    ``with Client(url) as client:`` connects; without ``with``, the first call does. Every method blocks its thread
    and no other: threads may share a client. It survives ``fork`` (the child makes connections of its own) and pickles,
    together with its options; so do its session and its cursors.

    Args:
        url: The endpoint. A user name and password in it are used and not stored with the session.
        auth: ``(user, password)``, any requests auth, or an object with ``apply(request)`` and ``respond(response)``.
            Applied anew to each request, and never sent to another origin.
        headers: More header fields for each request, such as ``{"Authorization": "Bearer …"}``.
        http: A ready ``requests.Session`` to send everything through, with its adapters, proxies and TLS options. It
            is not closed. Slower than without. Its ``send()`` is what is used: a session that does its work in
            ``request()``, as some for OAuth and caching do, does not do it here.
        timeout: Seconds for a whole call, or a :class:`Timeout`. 300 s, 10 s of them for connecting. None means that
            default, not "no limit", which is ``Timeout(total=None)``.
        retry: A :class:`RetryPolicy`.
        protocol: ``"auto"`` finds out what the server speaks, from 2026-07-28 down to the HTTP+SSE of 2024-11-05, and
            remembers it for this process, so that the next client of the same address need not ask; an older server is
            asked again after ten minutes. Or one revision, such as ``"2025-06-18"``, and no other; with
            ``"2026-07-28"`` nothing is sent before the first call.
        client_info: Name and version to introduce this program with, as a model or a mapping.
        sampling: Answers requests of the server to ask a language model. It takes a :class:`CreateMessageParams`, and
            gives a :class:`CreateMessageResult` or ``{"role": "assistant", "model": …, "content": {…}}``.
        elicitation: Answers questions of the server to the user. It takes an :class:`ElicitFormParams`, with its
            ``message`` and ``requested_schema``, and gives an :class:`ElicitResult`,
            ``{"action": "accept", "content": {…}}``, or None, which declines. Defaults of the form are filled in where
            its answer leaves them out. If it, or ``sampling``, returns ``NotImplemented``, the answer is put off: the
            call ends with :class:`InputRequired`, and :meth:`continue_call` goes on with it (since 2026-07-28; before
            that, the server is told that there is no answer). So does a call that asks in more than ten rounds.
        url_elicitation: Whether ``elicitation`` handles sending the user to a page too. Show the whole address and ask
            before opening it; never fetch it yourself.
        sampling_tools: Whether ``sampling`` handles tools.
        roots: A list of ``file://`` addresses, or a function that gives one.
        on_log: Gets log messages of the server, unless the call has its own.
        on_notification: Gets the other notifications, wherever they arrive.
        on_session_expired: ``"renew"`` starts a new session and repeats the request, which the server did not act on;
            ``"raise"`` raises :class:`SessionExpired`.
        on_session_renewed: Called with the old and the new session.
        max_message_size: Bytes of one answer or event; 64 MiB, above which :class:`MessageTooLarge` is raised.
        verify, cert, proxies: As in requests; not together with ``http``.
        trust_env: Whether the environment is asked for proxies, CA certificates and ``.netrc``; the first two only
            where the options above say nothing.
        end_session: Whether closing tells the server that the session is over. False keeps it for :meth:`resume`. None:
            if it was begun by this client, and not by the one whose saved session or pickled copy this is.
        check_results: Whether structured results are checked against the tool's output schema, if jsonschema is
            installed (extra ``[schema]``). The tools are listed once for it, if they were not. Regular expressions of a
            schema run as they are, and no timeout ends them: turn it off for servers that are not trusted.
        listen_in_background: Whether to hold a listening stream open on a daemon thread, for what the server asks
            outside of a call's own stream. None: if there is a ``sampling``, ``elicitation`` or ``roots``.

    Raises:
        LocalProtocolError: An option cannot be used. Nothing was sent.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: AuthLike = None,
        headers: Mapping[str, str] | None = None,
        http: requests.Session | None = None,
        timeout: TimeoutLike | None = None,
        retry: RetryPolicy | None = None,
        protocol: str = "auto",
        client_info: Any = None,
        sampling: SamplingCallback | None = None,
        elicitation: ElicitationCallback | None = None,
        url_elicitation: bool = False,
        sampling_tools: bool = False,
        roots: RootsLike | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        on_notification: Callable[[Any], object] | None = None,
        on_session_expired: str = "renew",
        on_session_renewed: Callable[[Session, Session], object] | None = None,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        trust_env: bool = True,
        end_session: bool | None = None,
        check_results: bool = True,
        listen_in_background: bool | None = None,
    ) -> None:
        self._options = Options(
            url=url,
            auth=auth,
            headers=headers,
            http=http,
            timeout=timeout,
            retry=retry,
            protocol=protocol,
            client_info=client_info,
            sampling=sampling,
            elicitation=elicitation,
            url_elicitation=url_elicitation,
            sampling_tools=sampling_tools,
            roots=roots,
            on_log=on_log,
            on_notification=on_notification,
            on_session_expired=on_session_expired,
            on_session_renewed=on_session_renewed,
            max_message_size=max_message_size,
            verify=verify,
            cert=cert,
            proxies=proxies,
            trust_env=trust_env,
            end_session=end_session,
            check_results=check_results,
            listen_in_background=listen_in_background,
        )
        self._build(None)

    def _build(self, session: Session | None) -> None:
        """Make what the options describe: at the beginning, and again in an unpickled copy."""
        self._checker = None
        self._engine = self._options.make_engine(session)

    @classmethod
    def resume(cls, saved: str | bytes | Session, **options: Any) -> Client:
        """Go on with a saved session, in this or another process. No handshake takes place.

        If the server has ended the session by then, the first call starts a new one, as ``on_session_expired`` says.

        Args:
            saved: ``client.session.to_json()``, or the session itself.
            **options: As for :class:`Client`; credentials are never saved and must be given again. ``url`` may be
                given if the address has changed.

        Raises:
            LocalProtocolError: It is not a saved session.
        """
        session = saved if isinstance(saved, Session) else Session.from_json(saved)
        client = cls.__new__(cls)
        client._options = Options(**{"url": session.url, **options})
        client._build(session)
        return client

    # -- life

    def __enter__(self) -> Client:
        try:
            self.connect()
        except BaseException:
            self.close()  # there will be no __exit__
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        session = self._engine.session
        state = "closed" if self._engine.closed else "not connected" if session is None else "connected"
        return f"<Client {check_url(self._options.url).partition('?')[0]} {state}>"

    def __getstate__(self) -> dict[str, Any]:
        engine = self._engine
        wishes = (engine.log_level, engine.subscriptions)
        return {"options": self._options, "session": engine.session, "wishes": wishes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._options = state["options"]
        self._build(state["session"])
        self._engine.log_level, self._engine.subscriptions = state["wishes"]

    def connect(self, *, timeout: TimeoutLike | None = None) -> Session:
        """Shake hands with the server, unless that has been done; again, after a call has raised SessionExpired.

        Raises:
            TransportError: It cannot be reached, or not in time.
            AuthenticationError: It wants other credentials.
            UnsupportedVersion: No revision in common.
            HTTPStatusError, RPCError, RemoteProtocolError: It answered, but not as an MCP server does.
        """
        return self._engine.connect(self._effort(timeout)).session

    def close(self, *, end_session: bool | None = None) -> None:
        """Wake all calls, which raise ClientClosed, end the session and close the connections. Idempotent.

        A task that a call has become is cancelled. Any thread may call this; it takes two seconds at the most, when the
        server does not answer.

        Args:
            end_session: False leaves the session on the server, for :meth:`resume`, and tasks for :meth:`wait_task`.
                Default: as the client was made.
        """
        self._engine.close(end_session=self._options.end_session if end_session is None else end_session)

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.abandon()

    @property
    def session(self) -> Session:
        """What was agreed with the server, and where unfinished calls stand, as it is now.

        Connects if need be, and asks the server to introduce itself if it has not yet.
        """
        engine = self._engine
        session = engine.introduced(self._effort(None))
        cursors = tuple(cursor for call in engine.work.calls() if (cursor := call.cursor) is not None)
        if not cursors:
            return session
        return Session(**{**session.__dict__, "cursors": cursors})

    @property
    def era(self) -> str | None:
        """By which rules one talks: ``"stateless"`` (2026-07-28), ``"session"`` or ``"http+sse"``; None before."""
        link = self._engine.link
        return None if link is None else link.era.name

    @property
    def negotiation(self) -> tuple[str, ...]:
        """How it was found out what the server speaks, step by step, in words for people; empty before connecting."""
        link = self._engine.link
        return () if link is None else link.steps

    # -- anything else

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        idempotent: bool = False,
    ) -> dict[str, Any]:
        """Send any request, and return its result as it came. The escape hatch for what has no method here."""
        wants_progress = on_progress is not None
        return self._any_request(method, params, timeout, on_progress, on_log, idempotent, wants_progress).result

    def stream(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        idempotent: bool = False,
        wants_progress: bool = True,
    ) -> Call[dict[str, Any]]:
        """Send any request, and iterate what comes before its result."""
        return Call(self._any_request(method, params, timeout, on_progress, on_log, idempotent, wants_progress), self)

    def _any_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        timeout: TimeoutLike | None,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
        idempotent: bool,
        wants_progress: bool,
    ) -> Run[dict[str, Any]]:
        operation = Operation(_method(method), _params(params), raw_object, read_only=idempotent)
        return Run(
            self._engine,
            operation,
            self._effort(timeout),
            repeatable=idempotent,
            on_progress=on_progress,
            on_log=on_log,
            wants_progress=wants_progress,
        )

    def notify(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: TimeoutLike | None = None
    ) -> None:
        """Send any notification."""
        from ..jsonrpc import Notification

        self._engine.notify(Notification(_method(method), _params(params)), self._effort(timeout))

    def send_roots_list_changed(self, *, timeout: TimeoutLike | None = None) -> None:
        """Tell the server that the roots are others now.

        Since 2026-07-28 it asks for them each time that it needs them, and nothing is sent.
        """
        if self._engine.callbacks.roots is None:
            raise LocalProtocolError("the client was made without roots, so it has not declared any")
        effort = self._effort(timeout)
        if self._engine.ready(effort).era.hears_of_roots:
            self._engine.notify(calls.roots_list_changed(), effort)

    def listen(
        self, callback: Callable[[Any], object] | None = None, *, timeout: TimeoutLike | None = None
    ) -> Listener:
        """Listen for what belongs to no call: changed lists and resources, log messages, requests of the server.

        ``with client.listen() as events: for event in events: …`` reads on this thread; ``client.listen(callback)``
        reads on a daemon thread of its own until ``close()``. Either reconnects by itself, until 2025-11-25 from the
        last event on; since then, nothing is sent again. A server that ends the stream on purpose, as one does that
        stops, is asked again after a second. One without such a stream ends the iteration at once (``available`` is
        False then).

        Args:
            callback: Called with each notification.
            timeout: Seconds after which the iteration ends; no limit by default.
        """
        from .listener import Listener  # a script that only calls need not load it

        engine = self._engine
        engine.check_process()
        limits = Timeout.of(timeout, Timeout(engine.timeout.connect, engine.timeout.read, None))
        listening = engine.listening.replace(Effort(limits, engine.retry), callback)
        listening.owner = self
        return Listener(listening, engine.listening.forsake)


def _method(method: Any) -> str:
    if not isinstance(method, str) or not method:
        raise LocalProtocolError(f"a method must be a name, got {method!r}")
    return method


def _params(params: Any) -> dict[str, Any] | None:
    if params is None:
        return None
    if not isinstance(params, Mapping) or not all(isinstance(key, str) for key in params):
        raise LocalProtocolError("parameters must be a mapping with strings as keys")
    if not isinstance(params.get("_meta", {}), Mapping):
        raise LocalProtocolError("'_meta' must be a mapping")
    return dict(params)
