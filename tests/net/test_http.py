"""One request at a time, on both ways to the peer: headers, credentials, cookies, redirects, proxies, TLS."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.auth

from streamhttp_client import (
    ClientClosed,
    ConnectionFailed,
    ConnectionLost,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
)
from streamhttp_client.net.body import Response
from streamhttp_client.net.http import HTTP
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.timeouts import Timeout
from tests.net._send import BOUND, Certificates, fetch, over_tls, send
from tests.support.rawserver import Peer, RawServer, Request
from tests.transport._faults import AT_ONCE, InThread, within

MakeHTTP = Callable[..., HTTP]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("latin-1")).decode()


def plain(peer: Peer) -> None:
    """Answer everything with ``ok``."""
    while peer.open:
        peer.read_request()
        peer.respond(200, b"ok")


def serve(answer: Callable[[Peer, Request], None]) -> RawServer:
    """A server that answers each request on a connection with ``answer``."""

    def script(peer: Peer) -> None:
        while peer.open:
            answer(peer, peer.read_request())

    return RawServer(script)


# --- both ways are one


def test_a_request_and_its_answer(make_http: MakeHTTP) -> None:
    """Method, path, query, headers and body arrive; status, headers and body come back, and the next one works."""
    http = make_http(headers={"X-Ours": "a", "Authorization": "Bearer token"})

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(201, b"body", headers=[("X-Theirs", "1"), ("x-theirs", "2"), ("Content-Type", "Text/Plain; a=b")])

    with serve(answer) as server:
        for _ in range(3):
            headers = {"content-type": "text/x", "x-mine": "é"}
            response = send(http, f"{server.url}?a=b%20c&d", "POST", b"hello", headers)
            assert response.body.read_all(100, lambda: BOUND) == b"body"
            response.body.close()
        assert (response.status, response.reason, response.content_type) == (201, "Created", "text/plain")
        assert response.headers["X-Theirs"] == "1, 2"
        assert response.url.startswith(server.url)
        (*_, request) = server.requests
        assert (request.method, request.target, request.body) == ("POST", "/mcp?a=b%20c&d", b"hello")
        wanted = {
            "Host": f"127.0.0.1:{server.port}", "X-Ours": "a", "Authorization": "Bearer token", "X-Mine": "é",
            "Content-Type": "text/x", "Content-Length": "5", "Accept-Encoding": "gzip, deflate",
        }  # fmt: skip
        assert {name: request.header(name) for name in wanted} == wanted
        assert (request.header("User-Agent") or "").startswith("streamhttp-client/")
        assert server.accepted == 1


@pytest.mark.parametrize("chunked", [True, False])
def test_pieces_come_as_they_arrive(make_http: MakeHTTP, chunked: bool) -> None:
    """Each piece is handed out before the next one is sent, whatever the way and the framing."""
    got = [threading.Event() for _ in range(4)]

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=chunked)
        for number, event in enumerate(got):
            peer.write(b"%d" % number)
            peer.hold(event)
        peer.end_stream()

    with serve(answer) as server:
        response = send(make_http(), server.url)
        for number, event in enumerate(got):
            assert response.body.read1(timeout=BOUND) == b"%d" % number
            event.set()
        assert response.body.read1(timeout=BOUND) == b""
        response.body.close()


def test_gzip_is_undone(make_http: MakeHTTP) -> None:
    """Coded answers are decoded on both ways; a bomb is bounded by the limit of whoever reads."""
    data = gzip.compress(b"text" * 10_000)

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(200, data, headers={"Content-Encoding": "gzip"})

    with serve(answer) as server:
        assert fetch(make_http(), server.url) == (200, b"text" * 10_000)


def test_a_broken_coding(make_http: MakeHTTP) -> None:
    """It is the peer's error on both ways."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(200, b"not coded at all", headers={"Content-Encoding": "gzip"})

    with serve(answer) as server, pytest.raises(RemoteProtocolError):
        fetch(make_http(), server.url)


def test_a_cut_answer(make_http: MakeHTTP) -> None:
    """What arrived is handed out, and then the loss is told."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.write(b"first")
        peer.cut()

    with serve(answer) as server:
        response = send(make_http(), server.url)
        assert response.body.read1(timeout=BOUND) == b"first"
        with pytest.raises(ConnectionLost):
            while response.body.read1(timeout=BOUND):
                pass
        response.body.close()


def test_silence(make_http: MakeHTTP) -> None:
    """Before the head and in the body, the limits hold on both ways."""

    def answer(peer: Peer, request: Request) -> None:
        if request.target == "/body":
            peer.start_stream()
            peer.write(b"x")
        peer.hold()

    http = make_http()
    with serve(answer) as server:
        with pytest.raises(ReadTimeout) as caught:
            send(http, server.url, timeout=Timeout(read=0.1))
        assert caught.value.may_have_executed
        response = send(http, f"{server.origin}/body")
        response.body.read1(timeout=BOUND)
        with pytest.raises(ReadTimeout):
            response.body.read1(timeout=0.1)
        response.body.close()


def test_an_interrupt_wakes_a_body(make_http: MakeHTTP) -> None:
    """A read that is blocked in the body ends at once, on both ways, as closed and not as lost."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.write(b"first")
        peer.hold()

    http = make_http()
    with serve(answer) as server:
        interrupt = Interrupt()
        response = send(http, server.url, interrupt=interrupt)
        assert response.body.read1(timeout=BOUND) == b"first"
        thread = InThread(lambda: response.body.read1(timeout=BOUND))
        interrupt.fire()
        thread.join(AT_ONCE)
        assert isinstance(thread.error, ClientClosed)
        response.body.close()
        server.wait_connected(0)


# --- what cannot be sent


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "/path", "ftp://h/", "file:///etc/passwd", "http://", "http:///x", "http://[::1", "ws://h/"]
    + ["http://h:99999/", "http://h:abc/", "http://exa mple/", "http://*/", "http://.h/", "https://h\r\nx: y/"],
)
def test_addresses_that_cannot_be(make_http: MakeHTTP, url: str) -> None:
    """They are the caller's error, before anything happens."""
    with pytest.raises(LocalProtocolError):
        send(make_http(), url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\rb"), ("x", "a\x00b"), ("x", "\x7f"), ("x", " a"), ("x", "a "),
        ("x", "\u20ac"), ("x", b"bytes"), ("x", 7), ("x", None), ("", "a"), ("x y", "a"), ("x:", "a"), ("x\r\n", "a"),
        ("é", "a"), (7, "a"), (None, "a"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be(make_http: MakeHTTP, name: Any, value: Any) -> None:
    """A header that would not be one field is refused, and a value is not shown, since it may be a secret."""
    with pytest.raises(LocalProtocolError, match="header") as caught:
        make_http(headers={name: value})
    if isinstance(value, str) and len(value) > 2:
        assert value not in str(caught.value)


@pytest.mark.parametrize("auth", [7, "user:password", ("user",), ("a", "b", "c"), ("a", 7), [], object()])
def test_credentials_that_cannot_be(make_http: MakeHTTP, auth: Any) -> None:
    """What is no form of credentials is refused when it is given."""
    with pytest.raises(LocalProtocolError, match="auth"):
        make_http(auth=auth)


def test_tls_options_belong_to_the_session_that_is_given() -> None:
    """Two places for one setting would leave open which one counts."""
    with requests.Session() as session:
        for option in ({"verify": False}, {"cert": "x.pem"}, {"proxies": {"http": "http://h/"}}):
            with pytest.raises(LocalProtocolError, match="requests.Session"):
                HTTP(session=session, **option)


def test_a_host_header_of_the_callers(make_http: MakeHTTP) -> None:
    """RFC 9112, section 3.2: exactly one Host field goes out; the caller's, if there is one."""
    with RawServer(plain) as server:
        fetch(make_http(headers={"Host": "other.example"}), server.url)
        hosts = [value for name, value in server.requests[0].headers if name.lower() == "host"]
        assert hosts == ["other.example"]


# --- redirects


def redirect(status: int, location: str) -> Callable[[Peer, Request], None]:
    def answer(peer: Peer, request: Request) -> None:
        if request.target == "/mcp":
            peer.respond(status, b"moved", headers={"Location": location})
        else:
            peer.respond(200, request.body)

    return answer


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_redirects_keep_method_and_body(make_http: MakeHTTP, status: int, method: str) -> None:
    """H25-01: a POST stays a POST with its body, on whatever redirect, and with its pieces made anew."""
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        made.append(1)
        yield b"bo"
        yield b"dy"

    http = make_http(headers={"x-secret": "1"})
    with serve(redirect(status, "/there?x=1")) as server:
        for body in (b"body", pieces) if method == "POST" else (None,):
            expected = b"" if body is None else b"body"
            assert fetch(http, server.url, method, body, keep_method=True) == (200, expected)
            first, second = server.requests[-2:]
            assert (first.method, first.body, first.target) == (method, expected, "/mcp")
            assert (second.method, second.body, second.target) == (method, expected, "/there?x=1")
            assert second.header("x-secret") == "1"
            assert server.accepted == 1
        assert len(made) >= 2 or method != "POST"


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirected_post_is_not_sent_twice(make_http: MakeHTTP, status: int) -> None:
    """Most servers answer 302 to a POST that they have carried out: it is the final answer unless said otherwise."""
    with serve(redirect(status, "/there")) as server:
        assert fetch(make_http(), server.url, "POST", b"body")[0] == status
        assert [request.target for request in server.requests] == ["/mcp"]


def test_303_is_followed_for_get_alone(make_http: MakeHTTP) -> None:
    """It would turn a call into a GET of something else: there it is the final answer."""
    http = make_http()
    with serve(redirect(303, "/there")) as server:
        assert fetch(http, server.url) == (200, b"")
        assert fetch(http, server.url, "POST", b"{}") == (303, b"moved")
        assert [request.target for request in server.requests] == ["/mcp", "/there", "/mcp"]


def test_redirects_may_be_left_to_the_caller(make_http: MakeHTTP) -> None:
    """With ``follow=False`` the answer itself is given."""
    with serve(redirect(302, "/there")) as server:
        assert fetch(make_http(), server.url, follow=False) == (302, b"moved")


def test_what_is_no_redirect(make_http: MakeHTTP) -> None:
    """A 3xx without an address, and those that mean something else, are answers."""

    def answer(peer: Peer, request: Request) -> None:
        status = int(request.target[1:])
        peer.respond(status, b"", headers={"Location": "/other"} if status in (300, 201) else {})

    http = make_http()
    with serve(answer) as server:
        for status in (300, 302, 304, 307, 201):
            assert fetch(http, f"{server.origin}/{status}")[0] == status


@pytest.mark.parametrize("auth", [("user", "pw"), requests.auth.HTTPBasicAuth("user", "pw"), "callable"])
def test_nothing_of_ours_follows_to_another_origin(make_http: MakeHTTP, auth: Any) -> None:
    """H25-19: neither credentials nor headers of the client, of the request, or of the address follow; and what
    another origin sets as a cookie is not kept for ours."""
    if auth == "callable":
        auth = _set_bearer
    http = make_http(headers={"x-secret": "1"}, auth=auth)

    def there(peer: Peer, request: Request) -> None:
        peer.respond(200, b"there", headers={"Set-Cookie": "theirs=1"})

    with serve(there) as other:

        def here(peer: Peer, request: Request) -> None:
            if request.target == "/set":
                peer.respond(200, b"", headers={"Set-Cookie": "ours=1"})
            else:
                peer.respond(307, b"", headers={"Location": f"{other.origin}/there"})

        with serve(here) as server:
            fetch(http, f"{server.origin}/set")
            headers = {"mcp-session-id": "secret", "accept": "text/plain", "content-type": "a/b", "x-own": "1"}
            assert fetch(http, server.url, "POST", b"{}", headers=headers) == (200, b"there")
            (request,) = other.requests
            names = {name.lower() for name, _ in request.headers}
            assert names <= {
                "host", "accept", "content-type", "content-length", "user-agent", "accept-encoding", "connection",
            }  # fmt: skip
            assert request.body == b"{}"
            fetch(http, f"{server.origin}/set")
            cookie = server.requests[-1].header("Cookie")
            # "Cookies do not provide isolation by port" (RFC 6265, section 8.5), and the session's jar is the caller's.
            assert cookie == "ours=1" or (not http._own and "ours=1" in (cookie or ""))


def _set_bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = "Bearer token"
    return request


def test_a_redirect_with_characters_beyond_ascii(make_http: MakeHTTP) -> None:
    """RFC 9110 leaves no such characters in an address; servers write them all the same, in UTF-8."""

    def answer(peer: Peer, request: Request) -> None:
        if request.target == "/mcp":
            peer.send(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /gr\xc3\xbcn\r\n\r\n")
        else:
            peer.respond(200, request.target.encode())

    with serve(answer) as server:
        assert fetch(make_http(), server.url) == (200, b"/gr%C3%BCn")


# --- credentials


def test_basic_credentials(make_http: MakeHTTP) -> None:
    """RFC 7617, in ISO-8859-1 as requests does; from a pair, from requests' own auth, or from the address."""
    with RawServer(plain) as server:
        fetch(make_http(auth=("käthe", "p:w")), server.url)
        fetch(make_http(auth=requests.auth.HTTPBasicAuth("käthe", "p:w")), server.url)
        fetch(make_http(), server.url.replace("//", "//user:p%40w@"))
        seen = [request.header("Authorization") for request in server.requests]
        assert seen == [basic("käthe", "p:w"), basic("käthe", "p:w"), basic("user", "p@w")]
        assert all("@" not in request.target for request in server.requests)


def test_credentials_of_the_address_follow_within_its_origin(make_http: MakeHTTP) -> None:
    """What stood in the address that was asked for; one that a redirect names has none, and means the same server."""
    http = make_http()
    with serve(redirect(307, "/there")) as server:
        assert fetch(http, server.url.replace("//", "//user:pw@"))[0] == 200
        assert [request.header("Authorization") for request in server.requests] == [basic("user", "pw")] * 2
        assert fetch(http, server.url)[0] == 200  # and nothing of it is remembered for others
        assert [request.header("Authorization") for request in server.requests[2:]] == [None, None]


def test_an_auth_is_applied_anew_to_each_request(make_http: MakeHTTP) -> None:
    """A proof of possession must not go out twice: on each attempt and each hop there is a new one."""
    count = iter(range(100))

    class Numbered(requests.auth.AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["X-Proof"] = f"{request.method} {request.url} {next(count)}"
            return request

    http = make_http(auth=Numbered())
    with serve(redirect(307, "/there")) as server:
        fetch(http, server.url, "POST", b"{}")
        fetch(http, server.url, "POST", b"{}")
        proofs = [request.header("X-Proof") for request in server.requests]
        there = f"{server.origin}/there"
        assert proofs == [
            f"POST {server.url} 0", f"POST {there} 1", f"POST {server.url} 2", f"POST {there} 3",
        ]  # fmt: skip


def test_an_auth_cannot_break_the_request(make_http: MakeHTTP) -> None:
    """A header that an auth adds is checked like any other."""

    def evil(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Evil"] = "a\r\nb: c"
        return request

    with RawServer(plain) as server:
        with pytest.raises(LocalProtocolError, match="header"):
            fetch(make_http(auth=evil), server.url)
        assert server.requests == []


class Learning:
    """An auth that sees answers: it learns the token from the challenge."""

    def __init__(self, *, again: bool = True) -> None:
        self.token = "none"
        self.seen: list[int] = []
        self._again = again

    def apply(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self.token}"

    def respond(self, response: Response) -> bool:
        self.seen.append(response.status)
        self.token = response.headers["www-authenticate"].partition("=")[2]
        return self._again


@pytest.mark.parametrize("status", [401, 403])
def test_an_auth_that_learns_from_answers(make_http: MakeHTTP, status: int) -> None:
    """It sees the refusal, and the request is made once more with what it learned."""

    def answer(peer: Peer, request: Request) -> None:
        if request.header("Authorization") == "Bearer good":
            peer.respond(200, request.body)
        else:
            peer.respond(status, b"no", headers={"WWW-Authenticate": "Bearer token=good"})

    auth = Learning()
    http = make_http(auth=auth)
    with serve(answer) as server:
        assert fetch(http, server.url, "POST", b"body") == (200, b"body")
        assert fetch(http, server.url, "POST", b"again") == (200, b"again")
        assert auth.seen == [status]
        assert len(server.requests) == 3


def test_an_auth_that_never_learns(make_http: MakeHTTP) -> None:
    """One more attempt and no further; and none at all if it does not want it."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(401, b"no", headers={"WWW-Authenticate": "Bearer token=bad"})

    for again, count in ((True, 2), (False, 1)):
        with serve(answer) as server:
            assert fetch(make_http(auth=Learning(again=again)), server.url) == (401, b"no")
            assert len(server.requests) == count


def test_http_digest(make_http: MakeHTTP) -> None:
    """requests' own digest works, hooks and all: a challenge, then a proof, for a call with a body."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    def answer(peer: Peer, request: Request) -> None:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', request.header("Authorization") or ""))
        if not given:
            challenge = 'Digest realm="r", nonce="n1", qop="auth", algorithm=MD5, opaque="o"'
            return peer.respond(401, b"prove it", headers={"WWW-Authenticate": challenge})
        secret, asked = md5("user:r:pw"), md5(f"{request.method}:{given['uri']}")
        proof = md5(f"{secret}:n1:{given['nc']}:{given['cnonce']}:auth:{asked}")
        peer.respond(200 if given["response"] == proof else 403, request.body)

    http = make_http(auth=requests.auth.HTTPDigestAuth("user", "pw"))
    with serve(answer) as server:
        assert fetch(http, server.url, "POST", b"body") == (200, b"body")
        assert fetch(http, server.url, "POST", b"again") == (200, b"again")
        assert len(server.requests) == 3
        # A body in pieces is made anew for the request with the proof.
        anew = make_http(auth=requests.auth.HTTPDigestAuth("user", "pw"))
        assert fetch(anew, server.url, "POST", lambda: iter([b"in ", b"pieces"])) == (200, b"in pieces")


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``.netrc`` with a login for loopback."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login stored password word\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, basic("stored", "word")),
        ({"auth": ("user", "pw")}, basic("user", "pw")),
        ({"auth": _set_bearer}, "Bearer token"),
        ({"headers": {"authorization": "Bearer header"}}, "Bearer header"),
        ({"auth": Learning()}, "Bearer none"),
        ({"auth": lambda request: request}, None),
    ],
    ids=["nothing", "pair", "auth", "header", "object", "auth-without-header"],
)
def test_netrc_never_replaces_what_was_given(make_http: MakeHTTP, options: Any, expected: str | None) -> None:
    """requests would put ``.netrc`` over a bearer token; here it stands in only where nothing was given."""
    with RawServer(plain) as server:
        fetch(make_http(**options), server.url)
        assert server.requests[0].header("Authorization") == expected


@pytest.mark.usefixtures("netrc")
def test_netrc_for_one_request_that_has_its_own(make_http: MakeHTTP) -> None:
    """Headers of the request win too, and the address' own login."""
    http = make_http()
    with RawServer(plain) as server:
        fetch(http, server.url, headers={"authorization": "Bearer mine"})
        fetch(http, server.url.replace("//", "//user:pw@"))
        seen = [request.header("Authorization") for request in server.requests]
        assert seen == ["Bearer mine", basic("user", "pw")]


# --- cookies


def test_cookies_are_kept_and_sent(make_http: MakeHTTP) -> None:
    """Load balancers that keep a session on one machine need them back, until they expire."""
    lines = ["a=1; Path=/", "b=2; Path=/elsewhere", "c=3; Secure", "d=4; Domain=other.example", "e=5; HttpOnly"]

    def answer(peer: Peer, request: Request) -> None:
        if request.target == "/end":
            peer.respond(200, b"", headers={"Set-Cookie": "a=; Max-Age=0; Path=/"})
        elif request.target == "/set":
            peer.respond(200, b"", headers=[("Set-Cookie", line) for line in lines])
        else:
            peer.respond(200, b"")

    http = make_http()
    with serve(answer) as server:
        fetch(http, f"{server.origin}/set")
        fetch(http, server.url, "POST", b"{}")
        fetch(http, f"{server.origin}/end")
        fetch(http, server.url)
        cookies = [sorted((request.header("Cookie") or "").split("; ")) for request in server.requests]
        assert cookies == [[""], ["a=1", "e=5"], ["a=1", "e=5"], ["e=5"]]


def test_cookies_stay_with_their_host(make_http: MakeHTTP) -> None:
    """Another host does not see them."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(200, b"", headers={"Set-Cookie": "a=1"})

    http = make_http()
    with serve(answer) as server:
        fetch(http, server.url)
        fetch(http, f"http://localhost:{server.port}/mcp")
        assert server.requests[1].header("Cookie") is None


def test_a_cookie_header_of_the_callers_stays(make_http: MakeHTTP) -> None:
    """What the caller sends is not replaced by what the server set."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(200, b"", headers={"Set-Cookie": "a=1"})

    http = make_http(headers={"cookie": "mine=1"})
    with serve(answer) as server:
        fetch(http, server.url)
        fetch(http, server.url)
        assert server.requests[1].header("Cookie") == "mine=1"


def test_damaged_cookies_are_no_error(make_http: MakeHTTP) -> None:
    """Whatever stands in Set-Cookie, the answer is an answer, and the next request is whole."""

    def answer(peer: Peer, request: Request) -> None:
        lines = ["", "=", ";;;", "a", "a=b=c; Expires=never", "x" * 5000, "\xe9=\xff", 'q="unfinished', "$Path=/"]
        peer.respond(200, b"ok", headers=[("Set-Cookie", line) for line in lines])

    http = make_http()
    with serve(answer) as server:
        for _ in range(3):
            assert fetch(http, server.url) == (200, b"ok")


# --- proxies


def proxied(peer: Peer) -> None:
    """A forward proxy that answers in place of every origin."""
    while peer.open:
        request = peer.read_request()
        peer.respond(200, b"via proxy " + request.target.encode())


def test_a_proxy_that_is_given(make_http: MakeHTTP) -> None:
    """Every request goes to it, with the whole address, and its login if it has one."""
    with RawServer(proxied) as proxy:
        http = make_http(proxies={"http": proxy.origin.replace("//", "//user:pw@")})
        assert fetch(http, "http://server.test/mcp?a=1", "POST", b"{}") == (200, b"via proxy http://server.test/mcp?a=1")
        (request,) = proxy.requests
        assert request.header("Host") == "server.test"
        assert request.header("Proxy-Authorization") == basic("user", "pw")
        assert request.body == b"{}"


def test_a_proxy_of_the_environment(make_http: MakeHTTP, monkeypatch: pytest.MonkeyPatch) -> None:
    """``http_proxy`` and ``no_proxy`` count, as in requests; not if the session does not trust the environment."""
    with RawServer(proxied) as proxy, RawServer(plain) as server:
        monkeypatch.setenv("http_proxy", proxy.origin)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        http = make_http()
        assert fetch(http, "http://server.test/") == (200, b"via proxy http://server.test/")
        assert fetch(http, server.url) == (200, b"ok")
        monkeypatch.delenv("no_proxy")
        distrustful = make_http()
        distrustful.session.trust_env = False
        assert fetch(distrustful, server.url) == (200, b"ok")
        assert fetch(make_http(), server.url) == (200, f"via proxy {server.url}".encode())
        assert len(proxy.requests) == 2


def test_streams_through_a_proxy_come_as_they_arrive(make_http: MakeHTTP) -> None:
    """A proxy in the way does not hold back events either."""
    got = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream()
        peer.write(b"first")
        peer.hold(got)
        peer.write(b"second")
        peer.end_stream()

    with RawServer(script) as proxy:
        response = send(make_http(proxies={"http": proxy.origin}), "http://server.test/")
        assert response.body.read1(timeout=BOUND) == b"first"
        got.set()
        assert response.body.read1(timeout=BOUND) == b"second"
        assert response.body.read1(timeout=BOUND) == b""
        response.body.close()


def test_a_proxy_that_refuses(make_http: MakeHTTP, certificates: Certificates) -> None:
    """CONNECT was refused: nothing reached the server."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(407, b"no", headers={"Connection": "close"})
        peer.cut()

    with RawServer(script) as proxy:
        http = make_http(proxies={"https": proxy.origin}, verify=str(certificates.ca))
        with pytest.raises(ConnectionFailed) as caught:
            fetch(http, "https://server.test/", "POST", b"{}")
        assert not caught.value.may_have_executed


@pytest.mark.parametrize("proxy", ["http://[::1", "http://user:secret@h:99999", "http://a host:80", "http://"])
def test_a_proxy_whose_address_is_none(make_http: MakeHTTP, proxy: str) -> None:
    """Nothing of urllib3 comes out bare, nor the password."""
    with pytest.raises(LocalProtocolError, match="a proxy whose address cannot be understood") as caught:
        fetch(make_http(proxies={"http": proxy}), "http://server.test/")
    assert "secret" not in str(caught.value)


def test_a_tunnel_to_https(make_http: MakeHTTP, certificates: Certificates) -> None:
    """CONNECT, then TLS with the server itself: the proxy sees neither the path nor the credentials."""

    def script(peer: Peer) -> None:
        request = peer.read_request()
        assert (request.method, request.target) == ("CONNECT", "server.test:443")
        assert request.header("Authorization") is None
        peer.respond(200, b"")
        over_tls(peer, certificates.context())
        plain(peer)

    with RawServer(script) as proxy:
        http = make_http(proxies={"https": proxy.origin}, verify=str(certificates.ca), auth=("user", "pw"))
        for _ in range(2):
            assert fetch(http, "https://server.test/mcp") == (200, b"ok")
        connect, *rest = proxy.requests
        assert [request.header("Authorization") for request in rest] == [basic("user", "pw")] * 2
        assert proxy.accepted == 1


# --- TLS


def tls_server(certificates: Certificates, **options: Any) -> RawServer:
    context = certificates.context(**options)

    def script(peer: Peer) -> None:
        over_tls(peer, context)
        plain(peer)

    server = RawServer(script)
    server.origin = server.origin.replace("http:", "https:")
    server.url = f"{server.origin}/mcp"
    return server


def test_tls_with_an_authority_of_ones_own(make_http: MakeHTTP, certificates: Certificates) -> None:
    """``verify`` names the authority; the connection serves again."""
    with tls_server(certificates) as server:
        http = make_http(verify=str(certificates.ca))
        for _ in range(3):
            assert fetch(http, server.url, "POST", b"x" * 100_000) == (200, b"ok")
        assert server.accepted == 1


def test_tls_without_trust(make_http: MakeHTTP, certificates: Certificates) -> None:
    """An authority that nobody knows is refused before anything is sent, unless checking is turned off."""
    with tls_server(certificates) as server:
        with pytest.raises(ConnectionFailed, match="the certificate of .* was not accepted: .*verify=") as caught:
            fetch(make_http(), server.url)
        assert not caught.value.may_have_executed
        assert server.requests == []


def test_tls_unchecked(certificates: Certificates) -> None:
    """``verify=False`` takes any certificate."""
    http = HTTP(verify=False)
    with tls_server(certificates) as server:
        assert fetch(http, server.url) == (200, b"ok")
        http.close()


def test_tls_for_another_name(make_http: MakeHTTP, certificates: Certificates) -> None:
    """A certificate for somebody else is refused though its authority is trusted."""
    http = make_http(verify=str(certificates.ca))
    with tls_server(certificates) as server:
        other = server.url.replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(ConnectionFailed):
            fetch(http, other)
        assert server.requests == []


def test_tls_with_a_certificate_of_the_clients(make_http: MakeHTTP, certificates: Certificates) -> None:
    """``cert`` proves who the client is, as a pair of paths; without it the server refuses."""
    pair = (str(certificates.client), str(certificates.client_key))
    with tls_server(certificates, client_certificate=True) as server:
        assert fetch(make_http(verify=str(certificates.ca), cert=pair), server.url) == (200, b"ok")
        with pytest.raises((ConnectionFailed, ConnectionLost)):
            fetch(make_http(verify=str(certificates.ca)), server.url)
        assert len(server.requests) == 1


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_of_the_environment(
    make_http: MakeHTTP, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The environment names it as in requests."""
    monkeypatch.setenv(variable, str(certificates.ca))
    with tls_server(certificates) as server:
        assert fetch(make_http(), server.url) == (200, b"ok")


def test_an_authority_that_is_not_there() -> None:
    """A path that leads nowhere is the caller's error."""
    http = HTTP(verify="/nowhere/ca.pem")
    with pytest.raises(LocalProtocolError, match="CA certificates"):
        fetch(http, "https://127.0.0.1:1/")
    http.close()


def test_no_redirect_from_https_to_http(make_http: MakeHTTP, certificates: Certificates) -> None:
    """What was asked for in secret is not sent in the open."""
    with RawServer(plain) as open_server:
        context = certificates.context()

        def script(peer: Peer) -> None:
            over_tls(peer, context)
            peer.read_request()
            peer.respond(307, b"", headers={"Location": open_server.url})

        with RawServer(script) as server:
            http = make_http(verify=str(certificates.ca))
            with pytest.raises(RemoteProtocolError, match="https to http"):
                fetch(http, server.url.replace("http:", "https:"))
            assert open_server.accepted == 0


def test_a_redirect_from_http_to_https(make_http: MakeHTTP, certificates: Certificates) -> None:
    """The other way is another origin like any other."""
    with tls_server(certificates) as secure, serve(redirect(308, secure.url)) as server:
        http = make_http(verify=str(certificates.ca), auth=("user", "pw"))
        assert fetch(http, server.url) == (200, b"ok")
        assert secure.requests[0].header("Authorization") is None


# --- time


def test_a_head_in_drips_has_the_time_of_one_read(make_http: MakeHTTP) -> None:
    """A byte now and then, or one interim answer after the other, does not keep a request waiting for ever."""
    for piece in (b"x", b"HTTP/1.1 102 Processing\r\n\r\n"):
        if piece != b"x" and make_http.way == "borrowed":  # type: ignore[attr-defined]
            continue  # requests takes the first of them for the answer
        ended = threading.Event()

        def script(peer: Peer, piece: bytes = piece, ended: threading.Event = ended) -> None:
            peer.read_request()
            if piece == b"x":
                peer.send(b"HTTP/1.1 200 OK\r\nx: ")
            while not ended.wait(0.05):
                peer.send(piece)

        with RawServer(script) as server, within(AT_ONCE):
            try:
                with pytest.raises(ReadTimeout):
                    send(make_http(), server.url, timeout=Timeout(connect=0.3, read=0.3, total=None))
            finally:
                ended.set()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_head_in_drips_outlasts_the_deadline(make_http: MakeHTTP, method: str) -> None:
    """Whatever is sent along, and however short each silence is."""
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nx: ")
        while not ended.wait(0.05):
            peer.send(b"x")

    with RawServer(script) as server, within(AT_ONCE):
        try:
            with pytest.raises(ReadTimeout):
                send(make_http(), server.url, method, b"{}" if method == "POST" else None, total=0.3)
        finally:
            ended.set()
