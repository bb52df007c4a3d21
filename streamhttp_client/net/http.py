"""One HTTP request at a time: targets, headers, authentication, cookies, redirects.

Two ways lead to the peer and give the same :class:`~.body.Response`. :mod:`.direct` is the short one. A request goes
through ``requests.Session.send`` (:mod:`.borrowed`) when the caller passed a session, a proxy is in the way, or the
authentication works with response hooks, as HTTP Digest does in requests.

Settings are kept in a ``requests.Session``, ours or the caller's, so there is one place for them: ``verify``,
``cert``, ``proxies``, cookies, ``trust_env``. What the environment says (proxies, CA bundle, ``.netrc``) is looked up
once for each origin, not once a call.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urljoin

import requests
import requests.auth
import requests.utils

from .._headers import Headers, check_field, check_header
from .._version import __version__
from ..exceptions import LocalProtocolError
from . import direct
from .body import Response
from .errors import RefusedAnswer
from .interrupt import Interrupt
from .pool import ConnectionPool, tcp_connector
from .sending import Piece, RewindableBody, in_memory
from .target import Target, basic_authorization
from .timeouts import Deadline, Timeout

__all__ = ["Auth", "AuthLike", "HTTP", "USER_AGENT"]

USER_AGENT = f"streamhttp-client/{__version__}"

# As many as requests allows is 30; a chain of more than five is a loop or a trap.
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))

# What may follow a redirect to another origin. All else might be a secret, whatever its name. What says where to go on
# must follow, or the answer would begin anew: many services redirect to another host for each download or stream.
_HARMLESS = frozenset(
    (
        "accept",
        "accept-encoding",
        "cache-control",
        "content-digest",
        "content-length",
        "content-type",
        "if-range",
        "last-event-id",
        "range",
        "repr-digest",
        "tus-resumable",
        "upload-checksum",
        "upload-length",
        "upload-offset",
        "user-agent",
    )
)

# What every request has anyway, and a caller's session may say better.
_UNSPECIFIC = frozenset(("accept-encoding", "user-agent"))

Body = bytes | Callable[[], Iterable[Piece]] | None


@runtime_checkable
class Auth(Protocol):
    """Authentication that sees answers too. A plain requests auth is applied through the same seam."""

    def apply(self, request: requests.PreparedRequest) -> object:
        """Add credentials. Called anew for each attempt, and never for another origin."""

    def respond(self, response: Response) -> bool:
        """Learn from an answer with status 401 or 403; True if the request should be made once more."""


AuthLike = Auth | requests.auth.AuthBase | tuple[str, str] | Callable[[requests.PreparedRequest], Any] | None


class HTTP:
    """Sends requests; keeps connections, cookies and settings. Threads share it; a fork begins with new connections.

    Args:
        session: The caller's ``requests.Session``, used and never closed; or None.
        headers: Sent with each request to the origin it was meant for; never to another one.
        travels: Whether a header of a single request, besides those of HTTP, is no secret and may follow a redirect to
            another origin; by its name in lower case.
        auth: Credentials: ``(user, password)``, any requests auth, or an :class:`Auth`. They, and never ``.netrc``,
            make the ``Authorization`` header.
        verify: True, False, or a path to a CA bundle, as in requests.
        cert: Path of a client certificate, or ``(certificate, key)``, as in requests.
        proxies: Address of the proxy by scheme, as in requests; else the environment's.
        trust_env: Whether the environment is asked at all: for proxies, CA certificates and ``.netrc``.

    Raises:
        LocalProtocolError: A header cannot be sent.
    """

    def __init__(
        self,
        *,
        session: requests.Session | None = None,
        headers: Mapping[str, str] | None = None,
        travels: Callable[[str], bool] = lambda name: False,
        auth: AuthLike = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        trust_env: bool = True,
    ) -> None:
        if session is not None and not isinstance(session, requests.Session):
            raise LocalProtocolError(f"http must be a requests.Session, got {type(session).__name__}")
        if headers is not None and not isinstance(headers, Mapping):
            raise LocalProtocolError(f"headers must be a mapping of names to values, got {type(headers).__name__}")
        self._own = session is None
        if session is None:
            session = requests.Session()
            session.verify, session.cert, session.trust_env = verify, cert, trust_env
            session.headers.clear()
            session.proxies.update(proxies or {})
        elif verify is not True or cert is not None or proxies is not None or not trust_env:
            raise LocalProtocolError(
                "verify, cert, proxies and trust_env are set on the requests.Session that is passed as http="
            )
        self.session = session
        self._headers = {"user-agent": USER_AGENT, "accept-encoding": "gzip, deflate"}
        for name, value in (headers or {}).items():
            check_header(name, value)
            self._headers[name.lower()] = value
        self._auth: Any = auth
        if auth is None and not self._own and session.auth is not None:
            self._auth = session.auth
        self._fixed_authorization: str | None = None
        self._travels: Callable[[str], bool] = lambda name: name in _HARMLESS or travels(name)
        if isinstance(self._auth, tuple):
            if len(self._auth) != 2 or not all(isinstance(part, (str, bytes)) for part in self._auth):
                raise LocalProtocolError("auth must be (user, password), a requests auth, or an object with apply()")
            self._fixed_authorization, self._auth = basic_authorization(*self._auth), None
        elif type(self._auth) is requests.auth.HTTPBasicAuth:
            self._fixed_authorization, self._auth = basic_authorization(self._auth.username, self._auth.password), None
        elif self._auth is not None and not callable(self._auth) and not isinstance(self._auth, Auth):
            raise LocalProtocolError(
                "auth must be (user, password), a requests auth, or an object with apply(); "
                "a token goes into headers={'Authorization': 'Bearer …'}"
            )
        self._targets: dict[tuple[str, bool], Target] = {}
        self._pools: dict[tuple[str, str, int], ConnectionPool] = {}
        self._ssl_context: ssl.SSLContext | None = None
        self._pid = os.getpid()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        timeout: Timeout,
        deadline: Deadline,
        interrupt: Interrupt,
        follow: bool = True,
        keep_method: bool = False,
    ) -> Response:
        """Send a request and return the final answer, its body still to be read and to be closed by the caller.

        Args:
            method: In upper case.
            url: Where to.
            headers: Of this request, names in lower case. They win over those of the client.
            body: Bytes, or a function that gives the pieces from the beginning, called anew for each attempt. With a
                function, ``headers`` must hold ``content-length``, or the pieces go out in the chunked coding.
            timeout: Its ``connect`` and ``read`` are used here.
            deadline: The end of the whole call.
            interrupt: What another thread uses to end this.
            follow: Whether to follow redirects: at most 5, never from https to http, without secrets to another
                origin. 307 and 308 keep method and body (RFC 9110, sections 15.4.8 and 15.4.9). 303 says that what was
                asked for is done: it is followed for GET and HEAD, and the final answer to all else. So are 301 and
                302 to a POST, since most servers mean the same by them.
            keep_method: Follow 301 and 302 with a POST too, for what nobody would answer so after having done it.

        Raises:
            TransportError: No answer; see its ``may_have_executed``.
            RefusedAnswer: A redirect that is not followed.
            LocalProtocolError: The address cannot be used.
        """
        target = first = self._target(url, first=True)
        asked_again, home = False, True
        final = set() if method in ("GET", "HEAD") else {303}
        if method == "POST" and not keep_method:
            final |= {301, 302}
        for _ in range(_MAX_REDIRECTS + 1):
            # Once elsewhere, a way back is one that the other origin chose.
            home = home and target.origin == first.origin
            # What stood in the address that was asked for holds for its whole origin.
            login = target.authorization or first.authorization if home else None
            response = self._send_once(method, target, headers, body, home, login, timeout, deadline, interrupt)
            status = response.status
            if status in _REDIRECTS and follow and "location" in response.headers and status not in final:
                target = self._redirected(target, response)
                continue
            if not home:
                response.redirected_to = target.where
            if status in (401, 403) and home and not asked_again and isinstance(self._auth, Auth):
                if self._auth.respond(response):
                    asked_again = True
                    response.body.close()
                    continue
            return response
        raise RefusedAnswer(f"more than {_MAX_REDIRECTS} redirects, the last one to {target.host}")

    def credentials(self, url: str) -> str:
        """What tells the credentials that a request would have now apart from others: a digest of all that the options,
        an auth and a session of the caller's add to one. The auth is applied to a request that is not sent.

        Where the proof is another one each time, as with HTTP Digest, so is this.

        Raises:
            LocalProtocolError: The address cannot be used.
        """
        from hashlib import sha256

        target = self._target(url)
        fields = dict(self._headers)
        authorization = self._fixed_authorization or target.authorization
        if authorization:
            fields.setdefault("authorization", authorization)
        if self._auth is not None or not self._own:
            cookie = requests.cookies.get_cookie_header(self.session.cookies, _Asked(target.url, fields))  # type: ignore[no-untyped-call]
            prepared = self._prepare("POST", target, fields, None, True)
            fields = {name.lower(): value for name, value in prepared.headers.items()}
            if self._own and fields.get("cookie") == cookie:
                fields.pop("cookie", None)  # what servers leave there says nothing of who asks
        return sha256(repr(sorted(fields.items())).encode()).hexdigest()

    def _send_once(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: Body,
        home: bool,
        login: str | None,
        timeout: Timeout,
        deadline: Deadline,
        interrupt: Interrupt,
    ) -> Response:
        travels = self._travels
        fields = {**self._headers, **headers} if home else {k: v for k, v in headers.items() if travels(k)}
        if not home:
            for name in ("user-agent", "accept-encoding"):
                fields.setdefault(name, self._headers[name])
        if body is None:
            if method not in ("GET", "HEAD"):
                fields["content-length"] = "0"
        elif isinstance(body, bytes):
            fields["content-length"] = str(len(body))
        elif "content-length" not in fields:
            fields["transfer-encoding"] = "chunked"
        authorization = self._fixed_authorization or login
        if authorization and home and "authorization" not in fields:
            fields["authorization"] = authorization
        prepared, changed = None, False
        if target.borrowed or (self._auth is not None and home):
            prepared = self._prepare(method, target, fields, body, home)
            fields = dict(prepared.headers)
            # An auth may put its proof into the address or the body: such a request goes as it stands.
            other_body = not callable(body) and prepared.body is not body
            changed = other_body or prepared.url != target.url or prepared.method != method
        elif home and len(self.session.cookies):
            self._add_cookies(target, fields)
        read = timeout.read

        def remaining() -> float | None:
            return deadline.within(read)

        if prepared is not None and (target.borrowed or changed or prepared.hooks["response"]):
            from . import borrowed  # seldom needed

            return borrowed.send(
                self.session,
                prepared,
                connect_timeout=deadline.within(timeout.connect),
                remaining=remaining,
                deadline=deadline,
                interrupt=interrupt,
                settings=target.settings,
            )
        lines = [f"{method} {target.path} HTTP/1.1"]
        if "host" not in fields:
            lines.append(f"host: {target.host_header}")
        lines += [f"{name}: {value}" for name, value in fields.items()]
        lines.append("\r\n")
        if callable(body):
            pieces: Any = _chunked(in_memory(body())) if "transfer-encoding" in fields else body()
        else:
            pieces = body
        pool = target.pool
        assert pool is not None
        text = "\r\n".join(lines)
        # The last gate against a value with a line break in it, wherever it came from: one break for each line.
        if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
            raise LocalProtocolError("a header of the request has a line break or a NUL in it")
        try:
            encoded = text.encode("latin-1")
        except UnicodeEncodeError:
            raise LocalProtocolError("a header of the request has a character above U+00FF in it") from None
        head, answer_body, sent = direct.exchange(
            pool,
            method,
            encoded,
            pieces,
            connect_timeout=deadline.within(timeout.connect),
            remaining=remaining,
            interrupt=interrupt,
        )
        if head.headers.cookies and home:
            self._keep_cookies(target, head.headers)
        return Response(head.status, head.reason, head.headers, target.url, answer_body, request_sent=sent)

    def _target(self, url: str, *, first: bool = False) -> Target:
        """The address made ready; with the parameters of the caller's session, if it is not one of a redirect."""
        if self._pid != os.getpid():
            self._after_fork()
        key = (url, first)
        target = self._targets.get(key)
        if target is None:
            target = Target(url, None if self._own or not first else self.session.params)
            self._look_up(target)
            if len(self._targets) > 256:  # an endpoint has one; a crawler may have any number
                self._targets.clear()
            self._targets[key] = target
        return target

    def _look_up(self, target: Target) -> None:
        """What the settings and the environment say about an origin."""
        session = self.session
        # Options of the client count more than the environment; those of a caller's session are requests' own affair.
        verify = session.verify if self._own and session.verify is not True else None
        cert, proxies = (session.cert, dict(session.proxies)) if self._own else (None, {})
        found: Any = session.merge_environment_settings(target.url, proxies, True, verify, cert)
        if session.verify is False:  # requests lets REQUESTS_CA_BUNDLE win over what the program says
            found["verify"] = False
        target.settings = {name: found[name] for name in ("proxies", "verify", "cert")}
        proxied = requests.utils.select_proxy(target.url, found["proxies"]) is not None
        target.borrowed = proxied or not self._own
        if session.trust_env and target.authorization is None and self._auth is None:
            given = "authorization" in self._headers or not self._own and "authorization" in session.headers
            if self._fixed_authorization is None and not given:
                login = requests.utils.get_netrc_auth(target.url)
                target.authorization = basic_authorization(*login) if login else None
        if not target.borrowed:
            pool = self._pools.get(target.origin)
            if pool is None:
                connect = tcp_connector(
                    target.scheme, target.host, target.port, lambda: self._tls(found["verify"], found["cert"])
                )
                pool = self._pools.setdefault(target.origin, ConnectionPool(connect))
            target.pool = pool

    def _tls(self, verify: bool | str | None, cert: Any) -> ssl.SSLContext:
        if self._ssl_context is None:
            from .tls import make_context

            self._ssl_context = make_context(verify, cert)
        return self._ssl_context

    def _redirected(self, target: Target, response: Response) -> Target:
        location = response.headers["location"]
        # A header is read as ISO-8859-1; most servers that put more than ASCII there mean UTF-8.
        try:
            location = location.encode("latin-1").decode("utf-8")
        except UnicodeError:
            pass
        response.body.close()
        try:
            after = self._target(urljoin(target.url, location))
        except ValueError as error:  # LocalProtocolError too: here it is the server that gave the address
            raise RefusedAnswer(f"a redirect to an address that cannot be used: {error}") from None
        if target.scheme == "https" and after.scheme == "http":
            raise RefusedAnswer(f"refused a redirect from https to http, at {target.host}")
        return after

    def _prepare(
        self, method: str, target: Target, fields: dict[str, str], body: Body, home: bool
    ) -> requests.PreparedRequest:
        """A prepared request for what wants one: an auth, or a session of the caller's."""
        prepared = requests.models.PreparedRequest()
        prepared.method, prepared.url = method, target.url
        prepared.hooks = requests.hooks.default_hooks()
        merged = dict(fields)
        if not self._own:
            usual = requests.utils.default_headers()
            for name, value in self.session.headers.items():
                if home and value != usual.get(name):  # what requests sets by itself, nobody asked for
                    merged[name.lower()] = value if isinstance(value, str) else value.decode("latin-1")
            merged.update((name, value) for name, value in fields.items() if name not in _UNSPECIFIC)
            for event, hooks in self.session.hooks.items():
                prepared.hooks[event] = list(hooks) if isinstance(hooks, (list, tuple)) else [hooks]
        prepared.headers = requests.structures.CaseInsensitiveDict(merged)
        prepared.body = RewindableBody(body) if callable(body) else body  # type: ignore[assignment]
        own_cookie = prepared.headers.pop("Cookie", None)
        prepared.prepare_cookies(self.session.cookies if home else {})  # always: HTTP Digest looks at what it leaves
        if own_cookie is not None:
            prepared.headers["Cookie"] = own_cookie
        auth = self._auth
        if auth is not None and home:
            if isinstance(auth, Auth):
                auth.apply(prepared)
            else:
                prepared = auth(prepared) or prepared
            for name, value in list(prepared.headers.items()):
                if isinstance(value, bytes):
                    prepared.headers[name] = value = value.decode("latin-1")
                check_field(name, value)
        return prepared

    def _add_cookies(self, target: Target, fields: dict[str, str]) -> None:
        jar: Any = requests.cookies
        cookie = jar.get_cookie_header(self.session.cookies, _Asked(target.url, fields))
        if cookie is not None and "cookie" not in fields:
            fields["cookie"] = cookie

    def _keep_cookies(self, target: Target, headers: Headers) -> None:
        import email.message

        message = email.message.Message()
        for cookie in headers.cookies:
            message["Set-Cookie"] = cookie
        cookies: Any = requests.cookies
        asked = cookies.MockRequest(_Asked(target.url, {}))
        self.session.cookies.extract_cookies(cookies.MockResponse(message), asked)

    def _after_fork(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        self._pid = os.getpid()
        self._ssl_context = None
        self.session.close()  # forgets its pools, whose sockets are closed in this process only

    def close(self) -> None:
        """Close idle connections, and busy ones when they come back. A session of the caller's stays open."""
        for pool in list(self._pools.values()):
            pool.close()
        if self._own:
            self.session.close()


class _Asked:
    """What the cookie jar wants to see of a request."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self.headers = headers


def _chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The chunked coding of a body of unknown length, RFC 9112, section 7.1."""
    for piece in pieces:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
