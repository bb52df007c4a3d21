"""An address, taken apart once."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.utils

from ..exceptions import LocalProtocolError
from .pool import ConnectionPool

__all__ = ["Target", "basic_authorization", "check_url"]


class Target:
    """An address, made ready once."""

    __slots__ = ("authorization", "borrowed", "host", "origin", "path", "pool", "port", "scheme", "settings", "url")

    def __init__(self, url: str, params: Any = None) -> None:
        if any(char <= " " or char == "\x7f" for char in url):
            shown = _hide(repr(url))
            raise LocalProtocolError(f"an address must have no space or control character in it, got {shown:.80}")
        if "://" not in url:
            near = url.lower().startswith(("localhost", "127.", "[::1]"))
            hint = f"; perhaps {'http' if near else 'https'}://{url.lstrip('/'):.60}" if url.strip() else ""
            shown = _hide(repr(url))
            raise LocalProtocolError(f"an address must begin with http:// or https://, got {shown:.80}{hint}")
        prepared = requests.models.PreparedRequest()
        try:
            prepared.prepare_url(url, params)
        except (requests.exceptions.RequestException, ValueError) as error:
            raise LocalProtocolError(f"the address cannot be used: {_hide(str(error))}") from None
        parsed = urlsplit(prepared.url or "")
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise LocalProtocolError(f"an address must begin with http:// or https://, got {_hide(repr(url)):.80}")
        try:
            port = parsed.port
        except ValueError:
            raise LocalProtocolError(f"the port must be a number up to 65535, got {_hide(repr(url)):.80}") from None
        self.scheme = parsed.scheme
        self.host = f"[{parsed.hostname}]" if ":" in parsed.hostname else parsed.hostname
        self.port = (443 if parsed.scheme == "https" else 80) if port is None else port
        self.origin = (self.scheme, self.host, self.port)
        self.path = (parsed.path or "/") + (f"?{parsed.query}" if parsed.query else "")
        shown_port = "" if port is None or port == (443 if parsed.scheme == "https" else 80) else f":{port}"
        self.url = f"{self.scheme}://{self.host}{shown_port}{self.path}"
        self.authorization: str | None = None
        if parsed.username or parsed.password:
            self.authorization = basic_authorization(*requests.utils.get_auth_from_url(prepared.url or ""))
        self.settings: dict[str, Any] = {}
        self.borrowed = False
        self.pool: ConnectionPool | None = None

    @property
    def where(self) -> str:
        """The origin, as it may be shown."""
        return f"{self.scheme}://{self.host_header}"

    @property
    def host_header(self) -> str:
        default = 443 if self.scheme == "https" else 80
        return self.host if self.port == default else f"{self.host}:{self.port}"


def _hide(text: str) -> str:
    """The text without the user name and password of an address in it."""
    return re.sub(r"//\S*@", "//", text)


def check_url(url: str) -> str:
    """Return an address in the form in which it may be stored and shown: without user name and password.

    Raises:
        LocalProtocolError: It is no http or https address.
    """
    if not isinstance(url, str):
        raise LocalProtocolError(f"an address must be a string, got {type(url).__name__}")
    return Target(url).url


def basic_authorization(user: str | bytes, password: str | bytes) -> str:
    """The value of ``Authorization`` for a user name and password, RFC 7617.

    Text is sent as ISO-8859-1 where that is possible, as requests does it, else as UTF-8.
    """
    joined = b":".join(part if isinstance(part, bytes) else _encoded(part) for part in (user, password))
    return "Basic " + base64.b64encode(joined).decode()


def _encoded(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")
