"""Tokens: what the function that checks them may return, and where the metadata is found."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from streamhttp_client.server import BearerAuth, Server
from tests.server.kit import Direct


def bearer_for(check: Any) -> BearerAuth:
    return BearerAuth(check, resource="https://mcp.example.com/mcp", authorization_servers=["https://auth.example.com"])


@pytest.mark.parametrize("found", [False, True, "", 0, 7, b"ada", ("ada",)])
def test_only_a_name_lets_in(server: Server, found: Any, caplog: pytest.LogCaptureFixture) -> None:
    """``lambda token: token in tokens`` must not let in who has a wrong token."""
    app = server.wsgi(bearer=bearer_for(lambda token: found))
    with caplog.at_level(logging.ERROR), Direct(app).request("ping", AUTHORIZATION="Bearer nonsense") as reply:
        assert reply.status == 401 and "invalid_token" in reply.headers["www-authenticate"]
        assert b"valid" in reply.body()
    assert ("must return a str or None" in caplog.text) == (not isinstance(found, str))
    assert "nonsense" not in caplog.text
    app.close()


def test_metadata_beside_a_mounted_endpoint() -> None:
    """A framework gives the endpoint only its own path, so the document is an application by itself."""
    bearer = bearer_for(lambda token: "ada")
    with Direct(bearer.metadata_app, bearer.metadata_path).send("GET") as reply:
        assert reply.status == 200 and reply.json()["authorization_servers"] == ["https://auth.example.com"]
        assert reply.headers["access-control-allow-origin"] == "*"
    with Direct(bearer.metadata_app, bearer.metadata_path).send("HEAD") as reply:
        assert (reply.status, reply.body()) == (200, b"")
    with Direct(bearer.metadata_app, bearer.metadata_path).send("POST") as reply:
        assert reply.status == 405 and reply.headers["allow"] == "GET, HEAD"
        reply.body()


def test_principal_may_refuse(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """PermissionError is how a function of the service's own says no; its text stays here."""

    def refuse(environ: Any) -> str:
        raise PermissionError("ada is barred")

    app = server.wsgi(principal=refuse)
    with Direct(app).request("ping") as reply:
        assert reply.status == 403 and b"barred" not in reply.body()
    assert not caplog.records
    app.close()
