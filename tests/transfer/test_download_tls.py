"""Transfers over TLS, where a body cannot go straight from a file and an early answer cannot be seen from outside."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
from pathlib import Path

import pytest
import requests.certs

from streamhttp_client.cli import main
from streamhttp_client.exceptions import TransferInterrupted, TransferRefused
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.transfer.download import download
from streamhttp_client.transfer.upload import upload
from tests.net._send import Certificates, over_tls
from tests.support.rawserver import Peer, RawServer
from tests.transfer.fileserver import FileServer, cut
from tests.transfer.test_tus import FakeTus, status

DATA = os.urandom(2 << 20)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl is missing: install the package openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def context(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
    return certificates.context()


def secure(server: RawServer) -> str:
    return f"https://127.0.0.1:{server.port}/folder/file.bin"


class SecureFileServer(FileServer):
    context: ssl.SSLContext

    def handle(self, peer: Peer) -> None:
        over_tls(peer, self.context)
        super().handle(peer)


def test_a_download_goes_on_after_a_cut(tmp_path: Path, context: ssl.SSLContext) -> None:
    with SecureFileServer(DATA, cut(700_000)) as server:
        server.context = context
        digest = "sha256:" + hashlib.sha256(DATA).hexdigest()
        result = download(secure(server), tmp_path / "x", digest=digest, retry=RetryPolicy(base=0))
    assert result.verified and (result.attempts, result.restarts) == (2, 0)


def test_a_file_is_uploaded_whole(tmp_path: Path, context: ssl.SSLContext) -> None:
    (tmp_path / "x").write_bytes(DATA)

    def receive(peer: Peer) -> None:
        over_tls(peer, context)
        while True:
            peer.read_request()
            peer.respond(201)

    with RawServer(receive) as server:
        for source in (tmp_path / "x", DATA, iter([DATA])):
            assert upload(source, secure(server)).attempts == 1
        assert all(request.body == DATA for request in server.requests) and len(server.requests) == 3


def test_a_certificate_that_nobody_signed_is_refused_unless_told(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python and on the command line."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
    with SecureFileServer(DATA) as server:
        server.context = certificates.context()
        with pytest.raises(TransferInterrupted, match="(?i)certificate"):
            download(secure(server), tmp_path / "x")
        assert server.accepted == 1  # waiting does not make it better
        with pytest.warns(Warning, match="certificate verification"):
            assert main(["get", secure(server), str(tmp_path / "x"), "--insecure", "-q"]) == 0
    assert (tmp_path / "x").read_bytes() == DATA


def test_an_upload_that_is_to_go_in_the_open_is_refused(context: ssl.SSLContext) -> None:
    """A tus server behind a proxy that ends TLS may name an http address without knowing it."""

    class SecureTus(FakeTus):
        def handle(self, peer: Peer) -> None:
            over_tls(peer, context)
            super().handle(peer)

    with FakeTus() as in_the_open, SecureTus() as server:
        in_the_open.uploads["/files/1"], in_the_open.lengths["/files/1"] = bytearray(), len(DATA)
        server.on("POST", status(201, Location=f"{in_the_open.origin}/files/1"))
        with pytest.raises(TransferRefused, match="http address"):
            upload(DATA, secure(server), protocol="tus")
        assert in_the_open.accepted == 0
