"""What the tests of the network layer share: both ways to the peer, and a certificate authority of their own."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from streamhttp_client.net.body import Response
from streamhttp_client.net.http import HTTP
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.timeouts import Deadline, Timeout
from tests.support.rawserver import Peer, PeerGone

__all__ = ["BOUND", "Certificates", "WAYS", "fetch", "over_tls", "send"]

BOUND = 15.0  # seconds for a whole exchange; none comes near unless it fails


def _own(**options: Any) -> HTTP:
    return HTTP(**options)


def _borrowed(**options: Any) -> HTTP:
    session = requests.Session()
    for name in ("verify", "cert"):
        if name in options:
            setattr(session, name, options.pop(name))
    session.proxies.update(options.pop("proxies", {}))
    return HTTP(session=session, **options)


#: The direct way, and the one through a ``requests.Session`` of the caller's: both give the same.
WAYS: dict[str, Callable[..., HTTP]] = {"direct": _own, "borrowed": _borrowed}


def send(
    http: HTTP,
    url: str,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: Timeout | None = None,
    total: float = BOUND,
    interrupt: Interrupt | None = None,
    follow: bool = True,
    keep_method: bool = False,
) -> Response:
    """Send one request with the limits of the tests."""
    return http.send(
        method, url, headers or {}, body, timeout=timeout or Timeout(), deadline=Deadline(total),
        interrupt=interrupt or Interrupt(), follow=follow, keep_method=keep_method,
    )  # fmt: skip


def fetch(http: HTTP, url: str, method: str = "GET", body: Any = None, **options: Any) -> tuple[int, bytes]:
    """Send one request, read its answer to the end and close it."""
    response = send(http, url, method, body, **options)
    try:
        return response.status, response.body.read_all(10_000_000, lambda: BOUND)
    finally:
        response.body.close()


class Certificates:
    """A certificate authority, a server certificate for loopback and ``server.test``, and one for a client."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.ca_key = folder / "ca.pem", folder / "ca.key"
        self.client, self.client_key = folder / "client.pem", folder / "client.key"
        self.server, self.server_key = folder / "server.pem", folder / "server.key"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        self._openssl(
            "req", "-x509", *key, "-subj", "/CN=test authority", "-keyout", self.ca_key, "-out", self.ca,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        signed = ["-CA", str(self.ca), "-CAkey", str(self.ca_key)]
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:server.test"
        for name, extra in (("server", names), ("client", "subjectAltName=DNS:client.test")):
            self._openssl(
                "req", "-x509", *key, *signed, "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", extra, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
            )  # fmt: skip

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)

    def context(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        """For the server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        if client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def over_tls(peer: Peer, context: ssl.SSLContext) -> None:
    """Begin TLS on a connection, as its server; a handshake that fails ends the script quietly."""
    try:
        peer._sock = context.wrap_socket(peer._sock, server_side=True)
    except OSError as error:
        raise PeerGone(str(error)) from error
