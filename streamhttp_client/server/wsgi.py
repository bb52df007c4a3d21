"""The MCP endpoint as a WSGI application.

One request goes through: host, origin and principal; the body and its messages; the session; then each
message is answered (a request), taken (a notification) or handed to the call that waits for it (a response).
What takes long is written to a log by a handler's thread, and the answer reads that log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import ClientClosed, LocalProtocolError, RPCError
from ..protocol.versions import LATEST_SESSION, REVISIONS, Revision, find_stateless_revision
from .bearer import BearerAuth
from .hoards import Hoards
from .http_answers import Answer, HTTPError, StartResponse
from .http_requests import check_accept, read_messages
from .inbox import inbox_of, inbox_of_answer
from .listeners import listen
from .modern import ModernEndpoint
from .offer import Offer
from .pipes import PipeStream
from .request_meta import is_modern
from .runner import Runner
from .security import HostGuard
from .sessions import ServerSession, find_served, open_session
from .stores.base import Store, StoreError, StoreFull, lacks
from .stores.memory import MemoryStore
from .streams import EVENT_STREAM_HEADERS, EventStream, read_event_id

__all__ = ["Principal", "WSGIApp"]

_log = logging.getLogger("streamhttp_client.server")


def _path_of(environ: Mapping[str, Any]) -> str:
    # A framework that mounts this app at its path has moved the path to SCRIPT_NAME.
    inside: str = environ.get("PATH_INFO", "").strip("/")
    return "/" + (inside or environ.get("SCRIPT_NAME", "").strip("/"))


def _is_mount(environ: Mapping[str, Any]) -> bool:
    """Whether the request is for the very place where a framework has put this application."""
    return not environ.get("PATH_INFO", "").strip("/") and bool(environ.get("SCRIPT_NAME", "").strip("/"))


def _spoken(protocol: str) -> list[Revision]:
    """The revisions that an endpoint speaks, the newest first."""
    # HTTP+SSE is another transport, which this is not.
    every = [revision for revision in REVISIONS.values() if not revision.two_channels]
    if protocol == "auto":
        return every
    if protocol == LATEST_SESSION.name:
        return [revision for revision in every if revision.handshake]
    alone = find_stateless_revision(protocol)
    if alone is None:
        known = ", ".join(repr(revision.name) for revision in every if not revision.handshake)
        raise LocalProtocolError(f"protocol must be 'auto', {known} or {LATEST_SESSION.name!r}, got {protocol!r}")
    return [alone]


# Seconds, bytes or numbers of things; above it waits are too long for the system.
_MOST = 1e9


def _check_numbers(**given: tuple[Any, float]) -> None:
    """Refuse options that would fail in each request, or make one wait for ever; each comes with its least value."""
    for name, (value, least) in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= _MOST:
            raise LocalProtocolError(f"{name} must be a number from {least:g} to {_MOST:g}, got {value!r:.60}")


def _secret(given: str | bytes | None) -> bytes | None:
    secret = given.encode() if isinstance(given, str) else given
    if secret is not None and not isinstance(secret, bytes):
        raise LocalProtocolError(f"state_secret must be a str or bytes, got {type(secret).__name__}")
    if secret is not None and len(secret) < 16:
        raise LocalProtocolError(f"state_secret must have at least 16 bytes, got {len(secret)}")
    return secret


def _stops() -> HTTPError:
    return HTTPError(503, "the server stops", headers=[("Retry-After", "1")])


def _names_stateless(environ: Mapping[str, Any]) -> bool:
    return find_stateless_revision(environ.get("HTTP_MCP_PROTOCOL_VERSION", "")) is not None


def _check_version(environ: Mapping[str, Any]) -> str | None:
    version: str | None = environ.get("HTTP_MCP_PROTOCOL_VERSION")
    if version is not None and find_served(version) is None:
        raise HTTPError(400, f"unsupported MCP-Protocol-Version: {version!r:.40}")
    return version


Environ = Mapping[str, Any]
Principal = Callable[[Environ], "str | None"]


class WSGIApp:
    """Made by :meth:`Server.wsgi`, which says what the arguments mean. Any thread may call it."""

    def __init__(
        self,
        offer: Offer,
        *,
        path: str | None,
        protocol: str,
        stateless: bool,
        json_response: bool,
        store: Store | None,
        allowed_hosts: Iterable[str] | None,
        allowed_origins: Iterable[str] | None,
        principal: Principal | None,
        bearer: BearerAuth | None,
        max_body: int,
        max_threads: int,
        max_streams: int,
        session_ttl: float | None,
        keepalive: float,
        retry_ms: int,
        state_secret: str | bytes | None,
        state_ttl: float,
        task_ttl: float,
    ) -> None:
        _check_numbers(max_body=(max_body, 1), max_threads=(max_threads, 0), max_streams=(max_streams, 1))
        _check_numbers(keepalive=(keepalive, 0.001), retry_ms=(retry_ms, 0), state_ttl=(state_ttl, 0.001))
        _check_numbers(session_ttl=(session_ttl or 0, 0), task_ttl=(task_ttl, 0))
        if path is not None and not isinstance(path, str):
            raise LocalProtocolError(f"path must be a str or None, got {path!r:.60}")
        if store is not None and not hasattr(store, "create_session"):
            raise LocalProtocolError(f"store must be a SQLiteStore(path), a RedisStore(url) or such, got {store!r:.60}")
        if store is not None and (missing := lacks(store)):
            raise LocalProtocolError(f"not a whole store: {type(store).__name__} lacks {', '.join(missing)}")
        if principal is not None and not callable(principal):
            raise LocalProtocolError(f"principal must be a function that takes the environ, got {principal!r:.60}")
        if bearer is not None and not isinstance(bearer, BearerAuth):
            raise LocalProtocolError(f"bearer must be a BearerAuth, got {type(bearer).__name__}")
        if store is None:
            store = MemoryStore() if session_ttl is None else MemoryStore(session_ttl=session_ttl)
        elif session_ttl is not None:
            raise LocalProtocolError("session_ttl belongs to the store, so give one of the two")
        self.store: Store = store
        self._offer = offer
        self._path = None if path is None else "/" + path.strip("/")
        self._stateless = stateless
        self._json = json_response
        self._guard = HostGuard(allowed_hosts, allowed_origins)
        self._bearer = bearer
        if bearer is not None and principal is not None:
            raise LocalProtocolError("bearer says who calls, so principal must not be given too")
        self._principal = principal if bearer is None else bearer.principal
        self._max_body = max_body
        self._runner = Runner(
            offer, max_threads=max_threads, max_streams=max_streams, keepalive=keepalive, retry_ms=retry_ms
        )
        spoken = _spoken(protocol)
        self._handshake = any(revision.handshake for revision in spoken)
        # Of the era without sessions, or None where it is not spoken.
        self._modern: ModernEndpoint | None = None
        if not all(revision.handshake for revision in spoken):
            self._modern = ModernEndpoint(
                offer,
                self._runner,
                store,
                path=self._path,
                supported=[revision.name for revision in spoken],
                json_response=json_response,
                keepalive=keepalive,
                state_secret=_secret(state_secret),
                state_ttl=state_ttl,
                task_ttl=task_ttl,
            )
        # Holds the streams of stateless calls, each for as long as its connection; the limits are those of
        # the runner.
        self._scratch = MemoryStore(max_sessions=max_streams * 2)
        # Whether the log has been told what the WSGI server around this cannot do; once is enough.
        self._advised = False
        # None where nobody can be told from others.
        self._hoards = None if self._principal is None else Hoards(store, self._runner.running.cancel_session)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        try:
            answer = self._respond(environ)
        except HTTPError as error:
            answer = error.answer
        except ClientClosed:
            # The session was deleted while its request was on the way.
            answer = HTTPError(404, "the session has ended").answer
        except StoreError as error:
            if not isinstance(error, StoreFull):
                _log.exception("an HTTP request failed")
            answer = HTTPError(503, str(error), headers=[("Retry-After", "5")]).answer
        except Exception:
            _log.exception("an HTTP request failed")
            answer = HTTPError(500, "internal error").answer
        shared = self._guard.cross_origin_headers(environ)
        if isinstance(answer, Answer):
            return answer.send(start_response, shared, head=environ["REQUEST_METHOD"] == "HEAD")
        try:
            start_response("200 OK", [*EVENT_STREAM_HEADERS, *shared])
        except BaseException:
            answer.close()
            raise
        return answer

    def _respond(self, environ: Environ) -> Answer | EventStream | PipeStream:
        method = environ["REQUEST_METHOD"]
        path = _path_of(environ)
        if self._bearer is not None and path == self._bearer.metadata_path and method == "GET":
            return self._bearer.metadata()
        if self._path is not None and path != self._path and not _is_mount(environ):
            raise HTTPError(404, "there is nothing at this path")
        self._guard.check(environ)
        if not self._advised:
            self._advised = True
            self._advise(environ)
        if (preflight := self._guard.preflight(environ)) is not None:
            return preflight  # it carries no credentials, so nobody is asked for them
        stopping = self._runner.stopping
        if stopping and (method != "POST" or not self._runner.running):
            raise _stops()
        try:
            principal = None if self._principal is None else self._principal(environ)
        except PermissionError as error:
            _log.info("a caller is not let in: %s", error)
            raise HTTPError(403, "the caller is not let in") from None
        if principal is not None and not isinstance(principal, str):
            # Stores keep it as JSON, which would give back something else than a tuple.
            raise LocalProtocolError(f"principal must return a text or None, got {type(principal).__name__}")
        if method == "POST":
            return self._post(environ, principal, begins=not stopping)
        if self._stateless or not self._handshake or _names_stateless(environ):
            raise HTTPError(405, "there are no sessions, so POST only", headers=[("Allow", "POST")])
        if method == "GET":
            return self._get(environ, self._session(environ, principal))
        if method == "DELETE":
            return self._delete(self._session(environ, principal))
        raise HTTPError(405, "the method must be POST, GET or DELETE", headers=[("Allow", "POST, GET, DELETE")])

    def _advise(self, environ: Environ) -> None:
        """Say what will fail now and then, and hardly in a test: clients would see sessions that are not known, and
        questions that nobody answers.
        """
        if environ.get("wsgi.multiprocess") and not self.store.shared and not self._stateless:
            _log.warning(
                "several processes serve %s, and each keeps sessions, tasks and subscriptions in its own memory: give"
                " wsgi() a store= that they share, a SQLiteStore or RedisStore",
                self._path or "this endpoint",
            )
        if environ.get("wsgi.multithread") is False and not self._json:
            _log.warning(
                "each process of this WSGI server handles one request at a time, so an open stream keeps it from all"
                " others: use workers with threads (gunicorn -k gthread --threads 64), or wsgi(json_response=True)"
            )

    def _session(self, environ: Environ, principal: str | None) -> ServerSession:
        """Find the session of a request.

        Raises:
            HTTPError: 400 without a session id or with an unknown revision, 404 if the session is not known.
        """
        version = _check_version(environ)
        if self._stateless:
            # "if the server does not receive an MCP-Protocol-Version header, and has no other way to identify
            # the version … the server SHOULD assume protocol version 2025-03-26", Protocol Version Header
            return ServerSession(None, {"revision": version or "2025-03-26", "principal": principal})
        session_id = environ.get("HTTP_MCP_SESSION_ID")
        if not session_id:
            # "Servers that require a session ID SHOULD respond … with HTTP 400 Bad Request", Session
            # Management 2
            raise HTTPError(400, "the Mcp-Session-Id header is needed")
        fields = self.store.get_session(session_id)
        # A session of somebody else is answered as none at all, so that nobody can find out that it exists.
        # The store has sessions of other kinds as well, which have no revision.
        if fields is None or "revision" not in fields or fields.get("principal") != principal:
            raise HTTPError(404, "the session is not known, or has ended")
        return ServerSession(session_id, fields)

    def _post(self, environ: Environ, principal: str | None, *, begins: bool) -> Answer | EventStream | PipeStream:
        check_accept(environ, *(("application/json",) if self._json else ("application/json", "text/event-stream")))
        messages, batch = read_messages(environ, self._max_body)
        # What is no request may be what a handler waits for, to end in time.
        if not begins and any(isinstance(message, jsonrpc.Request) for message in messages):
            raise _stops()
        modern = self._modern
        if modern is not None and is_modern(environ, messages[0]):
            return modern.post(environ, messages[0], batch, principal)
        if not self._handshake:
            assert modern is not None
            return modern.post_foreign(environ, messages[0], batch, principal)
        if not batch and isinstance(messages[0], jsonrpc.Request) and messages[0].method == "initialize":
            # "If the server receives a request with an invalid or unsupported MCP-Protocol-Version, it MUST respond
            # with 400 Bad Request", and this is one too, though it needs no such header.
            _check_version(environ)
            return self._initialize(messages[0], principal)
        session = self._session(environ, principal)
        if batch and not session.revision.batches:
            raise HTTPError(400, f"revision {session.revision.name} has no batches")
        requests = [message for message in messages if isinstance(message, jsonrpc.Request)]
        for message in messages:
            if not isinstance(message, jsonrpc.Request):
                self._take(session, message)
        if not requests:
            return Answer(202)
        if self._json or not any(self._offer.streams(request) for request in requests):
            return self._runner.answer_json(self.store, session, requests, batch)
        if self._stateless:
            self._scratch.create_session(session.key, {})
            try:
                return self._runner.answer_stream(environ, self._scratch, session, requests)
            except BaseException:
                self._scratch.delete_session(session.key)
                raise
        return self._runner.answer_stream(environ, self.store, session, requests)

    def _initialize(self, request: jsonrpc.Request, principal: str | None) -> Answer:
        try:
            result, fields = self._offer.initialize(request.params or {}, tells=not self._stateless)
        except RPCError as error:
            return Answer(200, jsonrpc.dump(jsonrpc.ErrorResponse(request.id, error.code, error.message)))
        body = jsonrpc.dump(jsonrpc.Response(request.id, result))
        if self._stateless:
            return Answer(200, body)
        fields = {**fields, "principal": principal}
        if self._hoards is None:
            session = open_session(self.store, fields)
        else:
            session = self._hoards.open_session(fields, principal)
        assert session.session_id is not None
        return Answer(200, body, [("Mcp-Session-Id", session.session_id)])

    def _take(self, session: ServerSession, message: jsonrpc.Message) -> None:
        """Take a notification, or a response to something that a handler asked."""
        if session.session_id is None:
            return  # nothing runs that could be told apart from what other clients run
        if isinstance(message, jsonrpc.Notification):
            if message.method == "notifications/cancelled":
                request_id = (message.params or {}).get("requestId")
                # "Invalid cancellation notifications SHOULD be ignored"
                if not isinstance(request_id, (str, int)):
                    return
                if not self._runner.running.cancel(session.key, request_id):
                    self.store.append(session.session_id, inbox_of(request_id), jsonrpc.dump(message))
            return
        if isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse)) and message.id is not None:
            inbox = inbox_of_answer(message.id)
            if inbox is not None:
                self.store.append(session.session_id, inbox, jsonrpc.dump(message))

    def _get(self, environ: Environ, session: ServerSession) -> EventStream:
        check_accept(environ, "text/event-stream")
        last = environ.get("HTTP_LAST_EVENT_ID")
        if last:
            found = read_event_id(last)
            if found is None:
                raise HTTPError(400, "Last-Event-ID is none that this server gave")
            log, after = found
            # Logs are looked up within the session, so an id of another session finds nothing.
            if self.store.read(session.key, log, after).state == "gone":
                raise HTTPError(410, "the events after this Last-Event-ID are no longer held")
            return self._runner.open_stream(environ, self.store, session, log, after)
        place = listen(self.store, session)
        if place is None:
            raise HTTPError(404, "the session has ended")
        return self._runner.open_stream(environ, self.store, session, *place)

    def _delete(self, session: ServerSession) -> Answer:
        self.store.delete_session(session.key)
        self._runner.running.cancel_session(session.key)
        return Answer(204)

    def close(self, timeout: float = 10.0, *, grace: float = 0.0) -> bool:
        """Stop: end the streams with a ``retry``, tell the handlers, and join their threads.

        Handlers see ``Context.cancelled``; those that look at it are answered for with an error, and so are those
        that do not end in time. What others still return goes into the store. The store stays open, since it was
        perhaps given by the caller; a server that is started on it later carries the sessions on.

        It may be called again, from whatever thread: that waits for those that are left, without another grace.

        Args:
            timeout: Seconds that handlers may take.
            grace: Seconds of these in which they are not told yet, so that what is nearly done is done.

        Returns:
            True if all handlers have ended.
        """
        return self._runner.close([self.store, self._scratch], timeout, grace)
