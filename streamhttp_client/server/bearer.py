"""Bearer tokens: who may call, and where a client learns how to get a token (RFC 6750, RFC 9728)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import LocalProtocolError
from .http_answers import Answer, HTTPError, StartResponse

__all__ = ["BearerAuth", "InsufficientScope"]

_log = logging.getLogger("streamhttp_client.server")

_WELL_KNOWN = "/.well-known/oauth-protected-resource"

# "scope = scope-token *( SP scope-token )", RFC 6749, section 3.3
_is_scope = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*").fullmatch


class InsufficientScope(Exception):  # noqa: N818 - it is an answer, not a failure
    """Raised by the function that checks tokens: the token is good, but not for this server.

    Args:
        scope: The scopes that would be, separated by spaces.

    Raises:
        LocalProtocolError: It has other characters than those of a scope.
    """

    def __init__(self, scope: str) -> None:
        if not isinstance(scope, str) or not _is_scope(scope):
            # It goes into a header.
            problem = "a scope is made of visible ASCII, without quotes or backslashes"
            raise LocalProtocolError(f"{problem}, got {scope!r:.100}")
        super().__init__(f"the token needs the scope {scope!r}")
        self.scope = scope


class BearerAuth:
    """Lets in only who shows a token that ``check`` knows.

    A refused client is sent to :attr:`metadata_path`, at the root of the host, to learn where tokens come from.
    An endpoint that gets all requests of its host answers there by itself. Where a framework mounts it at a path
    of its own, mount :meth:`metadata_app` at ``metadata_path`` too, or nobody finds out how to get a token.

    Args:
        check: Takes a token, and returns who it belongs to, or None if it is no good; anything but a text that
            is not empty refuses the token. It may raise :class:`InsufficientScope`. It must make sure that the
            token was issued for this server: "MCP servers MUST validate that access tokens were issued
            specifically for them" (MCP 2025-11-25, basic/authorization).
        resource: The endpoint's public URL; it names this server in the metadata.
        authorization_servers: Issuers whose tokens are good here.
        scopes: What a client should ask for.
    """

    def __init__(
        self,
        check: Callable[[str], str | None],
        *,
        resource: str,
        authorization_servers: Sequence[str],
        scopes: Sequence[str] = (),
    ) -> None:
        parts = urlsplit(resource)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise LocalProtocolError(f"resource must be the http(s) URL of the endpoint, got {resource!r}")
        if any(character in resource + " ".join(scopes) for character in '"\\\r\n'):
            raise LocalProtocolError("resource and scopes must not have quotes, backslashes or line breaks")
        if not callable(check):
            raise LocalProtocolError(f"check must be a function that takes a token, got {check!r:.60}")
        for name, given in (("authorization_servers", authorization_servers), ("scopes", scopes)):
            if isinstance(given, str):  # it would be a list of letters
                raise LocalProtocolError(f"{name} must be a list of texts, got the text {given!r:.100}")
        self._check = check
        self.metadata_path = _WELL_KNOWN + parts.path.rstrip("/")
        self._metadata_url = f"{parts.scheme}://{parts.netloc}{self.metadata_path}"
        metadata: dict[str, Any] = {
            "resource": resource,
            "authorization_servers": list(authorization_servers),
            "bearer_methods_supported": ["header"],
        }
        if scopes:
            metadata["scopes_supported"] = list(scopes)
        self._metadata = json.dumps(metadata).encode()
        self._scope = " ".join(scopes)

    def metadata(self) -> Answer:
        """The document that says where tokens come from; it is public, web pages may read it too."""
        return Answer(200, self._metadata, [("Access-Control-Allow-Origin", "*")])

    def metadata_app(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """:meth:`metadata` as a WSGI application of its own, to be mounted at ``metadata_path``."""
        method = environ["REQUEST_METHOD"]
        answer = self.metadata()
        if method not in ("GET", "HEAD"):
            answer = HTTPError(405, "the method must be GET", headers=[("Allow", "GET, HEAD")]).answer
        return answer.send(start_response, head=method == "HEAD")

    def principal(self, environ: Mapping[str, Any]) -> str:
        """Who sends this request.

        Raises:
            HTTPError: 401 without a good token, 403 if its scope is not enough.
        """
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            # RFC 6750, section 3.1: no error code if the request had no authentication at all.
            raise HTTPError(401, "a bearer token is needed", headers=[self._challenge(scope=self._scope)])
        try:
            principal = self._check(token.strip())
        except InsufficientScope as error:
            challenge = self._challenge(error="insufficient_scope", scope=error.scope)
            raise HTTPError(403, "the token's scope is not enough", headers=[challenge]) from None
        if principal is not None and not isinstance(principal, str):
            # ``token in tokens`` comes easily, and its False is not None: what is no name lets nobody in.
            _log.error("the check of bearer tokens must return a str or None, got %s", type(principal).__name__)
            principal = None
        if not principal:
            challenge = self._challenge(error="invalid_token", scope=self._scope)
            raise HTTPError(401, "the token is not valid here", headers=[challenge])
        return principal

    def _challenge(self, **fields: str) -> tuple[str, str]:
        fields["resource_metadata"] = self._metadata_url
        text = ", ".join(f'{name}="{value}"' for name, value in fields.items() if value)
        return "WWW-Authenticate", f"Bearer {text}"
