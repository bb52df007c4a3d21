"""HTTP header fields as a mapping that ignores case."""

from __future__ import annotations

from typing import Any

from .exceptions import LocalProtocolError

__all__ = ["Headers", "check_field", "check_header", "parse_date"]


class Headers(dict[str, str]):
    """Header fields of an answer. Names are kept in lower case and looked up in any case; it pickles as a dict.

    Fields that came more than once are joined with ``", "`` (RFC 9110, section 5.3); cookies are kept in ``cookies``.
    """

    cookies: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def parse_date(value: str | None) -> float | None:
    """An HTTP date (RFC 9110, section 5.6.7) in seconds since the epoch; None for what is none, or in no such year."""
    import email.utils  # seldom needed
    from datetime import timezone

    try:
        when = email.utils.parsedate_to_datetime(value or "")
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


# What says where a message ends is the transport's to say: a second word on it splits requests.
_FRAMING = frozenset(("content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"))


def check_header(name: str, value: str) -> None:
    """Refuse a header that a caller must not set, or that :func:`check_field` refuses.

    Raises:
        LocalProtocolError: It cannot be sent.
    """
    check_field(name, value)
    if name.lower() in _FRAMING:
        raise LocalProtocolError(f"header {name!r} is set by the transport and cannot be given")


def check_field(name: str, value: str) -> None:
    """Refuse a header that could not be sent as one field (RFC 9110, sections 5.1 and 5.5).

    Raises:
        LocalProtocolError: The name is no token, or the value has a control character or surrounding space. The
            value is not repeated in the message, since it may be a secret.
    """
    if not isinstance(name, str) or not name or not _TOKEN.issuperset(name):
        raise LocalProtocolError(f"a header name must be letters, digits and !#$%&'*+-.^_`|~ only, got {name!r}")
    if not isinstance(value, str):
        raise LocalProtocolError(f"the value of header {name!r} must be a string, got {type(value).__name__}")
    if any(char < " " and char != "\t" or char == "\x7f" for char in value):
        raise LocalProtocolError(f"the value of header {name!r} has a line break or another control character")
    if value != value.strip(" \t"):
        raise LocalProtocolError(f"the value of header {name!r} begins or ends with a space")
    if not value.isascii() and any(char > "\xff" for char in value):
        # Bytes are all that a header can carry; each character up to U+00FF stands for one (see Headers of an answer).
        raise LocalProtocolError(f"the value of header {name!r} has a character above U+00FF, which cannot be sent")
