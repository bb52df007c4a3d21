"""Which requests are let in: hosts and origins (DNS rebinding), and who sends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import LocalProtocolError
from .http_answers import Answer, HTTPError

__all__ = ["HostGuard"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


# Of the headers of an answer, a page sees only few by itself.
_EXPOSED = [("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After")]
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
    (
        "Access-Control-Allow-Headers",
        "Accept, Authorization, Content-Type, Last-Event-ID, Mcp-Method, Mcp-Name, Mcp-Protocol-Version,"
        " Mcp-Session-Id",
    ),
    ("Access-Control-Max-Age", "600"),
]
# Headers that mirror arguments of tools; their names depend on the tools.
_is_mirrored = re.compile(r"mcp-param-[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII).fullmatch


# What a browser sends, so that what would never be met is found out at once.
_is_name = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.ASCII).fullmatch
_is_origin = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#@*\s]+", re.ASCII).fullmatch


def _listed(option: str, given: Iterable[str], fits: Callable[[str], Any], example: str) -> list[str]:
    """The names in lower case. What no browser would send is refused, as it would never be met."""
    if isinstance(given, str):
        raise LocalProtocolError(f"{option} must be a list of names, got the text {given!r:.100}")
    found = []
    for item in given:
        name = item.lower().rstrip("/") if isinstance(item, str) else ""
        if name != "*" and not fits(name):
            raise LocalProtocolError(f"{option} takes such as {example!r}, or '*' for any, got {item!r:.100}")
        found.append(name)
    return found


def _remember(known: set[str], name: str) -> None:
    if len(known) < 256:
        known.add(name)


class HostGuard:
    """Checks ``Host`` and ``Origin``.

    A page on the web can point its own name to 127.0.0.1 and then speak with a server on the reader's
    machine; the browser takes both for the same origin. What gives it away is the name in ``Host`` and
    ``Origin``: "Servers MUST validate the Origin header on all incoming connections to prevent DNS rebinding
    attacks" (MCP 2025-11-25, basic/transports).

    Args:
        allowed_hosts: Names under which the server is reached, with or without port, such as
            ``"mcp.example.com"``. None allows only the names of the loopback interface, ``"*"`` in it allows
            any.
        allowed_origins: Origins of web pages that may call, such as ``"https://app.example.com"``. Those
            whose host is allowed are always let in, ``"*"`` lets in any.
    """

    def __init__(self, allowed_hosts: Iterable[str] | None, allowed_origins: Iterable[str] | None) -> None:
        hosts = None if allowed_hosts is None else _listed("allowed_hosts", allowed_hosts, _is_name, "mcp.example.com")
        origins = _listed("allowed_origins", allowed_origins or (), _is_origin, "https://app.example.com")
        self._hosts = _LOOPBACK if hosts is None else frozenset(hosts)
        self._origins = frozenset(origins)
        # Hosts and origins that were let in before, so that the usual request costs two look-ups. Both are
        # bounded: with "*" anybody could add to them.
        self._known_hosts: set[str] = set()
        self._known_origins: set[str] = set()

    def check(self, environ: Mapping[str, Any]) -> None:
        """Let a request pass.

        Raises:
            HTTPError: 421 for the host, 403 for the origin.
        """
        host = environ.get("HTTP_HOST", "")
        if host not in self._known_hosts:
            if not self._allows(host.lower()):
                raise HTTPError(421, f"the host {host!r:.100} is not one of allowed_hosts")
            _remember(self._known_hosts, host)
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin not in self._known_origins:
            if not self._allows_origin(origin.lower()):
                raise HTTPError(403, "the origin of this request is not one of allowed_origins")
            _remember(self._known_origins, origin)

    def cross_origin_headers(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What lets a page of an origin in ``allowed_origins`` read the answer; nothing for all others."""
        origin = environ.get("HTTP_ORIGIN")
        if not self._origins or origin is None:
            return []
        headers = [("Vary", "Origin")]
        if "*" in self._origins or origin.lower() in self._origins:
            headers += [("Access-Control-Allow-Origin", origin), *_EXPOSED]
        return headers

    def preflight(self, environ: Mapping[str, Any]) -> Answer | None:
        """The answer to a browser that asks whether a page may call, or None if the request is no such question."""
        if environ["REQUEST_METHOD"] != "OPTIONS" or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            return None
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").lower().split(",")
        mirrored = [name for name in map(str.strip, wanted) if _is_mirrored(name)]
        if not mirrored:
            return Answer(204, headers=_PREFLIGHT)
        allowed = dict(_PREFLIGHT)
        allowed["Access-Control-Allow-Headers"] += "".join(f", {name}" for name in mirrored)
        return Answer(204, headers=allowed.items())

    def _allows(self, host: str) -> bool:
        if "*" in self._hosts or host in self._hosts:
            return True
        name, separator, port = host.rpartition(":")
        return bool(separator) and port.isascii() and port.isdigit() and name in self._hosts

    def _allows_origin(self, origin: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        # "*" among the hosts says nothing of foreign pages.
        return (
            parts.scheme in ("http", "https")
            and parts.netloc != ""
            and "*" not in self._hosts
            and self._allows(parts.netloc)
        )
