"""Trace context in ``_meta``, so that a server's spans join those of its caller (MCP 2026-07-28, basic/index,
OpenTelemetry trace context).

"When present, their values MUST follow W3C Trace Context and W3C Baggage formats respectively." What a caller gives is
checked before it is sent; what OpenTelemetry gives is left out if it does not fit, for a trace must not break a call.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import LocalProtocolError

__all__ = ["KEYS", "check", "current", "is_baggage", "is_traceparent", "is_tracestate"]

KEYS = ("traceparent", "tracestate", "baggage")
"""The names in ``_meta`` that are spoken for, without a prefix."""

# W3C Trace Context, section 3.2.2: version, trace id, parent id, flags; more may follow in later versions.
_traceparent = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]*)?").fullmatch
# Section 3.3.1, with the keys of level 2, which begin with a digit too and have "@" anywhere.
_state_member = re.compile(r"([a-z0-9][a-z0-9_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]").fullmatch
_MAX_STATE_MEMBERS = 32
# W3C Baggage, section 3.2.1: a token, "=" and a value, then properties of which only some have a value.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = r"[!#-+\--:<-\[\]-~]*"
_baggage_member = re.compile(
    rf"{_TOKEN}[ \t]*=[ \t]*{_VALUE}(?:[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*{_VALUE})?)*"
).fullmatch
_MAX_BAGGAGE_MEMBERS = 180


def is_traceparent(value: Any) -> bool:
    """Whether it is a ``traceparent`` that names a trace and a parent."""
    match = _traceparent(value) if isinstance(value, str) else None
    if match is None:
        return False
    version, trace, parent, more = match.groups()
    return version != "ff" and trace.strip("0") != "" and parent.strip("0") != "" and (not more or version != "00")


def is_tracestate(value: Any) -> bool:
    """Whether it is a ``tracestate``: at most 32 members, each under a key of its own."""
    if not isinstance(value, str):
        return False
    members = [member.strip(" \t") for member in value.split(",")]
    matches = [_state_member(member) for member in members if member]  # empty members are allowed
    keys = {match.group(1) for match in matches if match is not None}
    return len(members) <= _MAX_STATE_MEMBERS and len(keys) == len(matches)


def is_baggage(value: Any) -> bool:
    """Whether it is a ``baggage``: at least one member, and none of them empty."""
    if not isinstance(value, str):
        return False
    members = [member.strip(" \t") for member in value.split(",")]
    return len(members) <= _MAX_BAGGAGE_MEMBERS and all(_baggage_member(member) for member in members)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "traceparent": (is_traceparent, "W3C Trace Context"),
    "tracestate": (is_tracestate, "W3C Trace Context"),
    "baggage": (is_baggage, "W3C Baggage"),
}


def check(meta: Mapping[str, Any]) -> None:
    """Refuse a ``_meta`` whose trace context is none.

    Raises:
        LocalProtocolError: A value is not of its format. It is not repeated: baggage may be private.
    """
    for key, (fits, standard) in _CHECKS.items():
        if key in meta and not fits(meta[key]):
            raise LocalProtocolError(f"_meta member {key!r} must follow {standard}")


_inject: Callable[[dict[str, str]], object] | None = None


def current() -> dict[str, str]:
    """Return the trace context that is current where this is called, for ``_meta``; empty without one.

    OpenTelemetry is asked, if the program uses it. It is never imported for a program that does not: without its
    ``context`` module nobody can have made a context. Never raises. Threads may call this; each has its own context.
    """
    if "opentelemetry.context" not in sys.modules:
        return {}
    global _inject
    carrier: dict[str, str] = {}
    try:
        if _inject is None:
            from importlib import import_module

            # Two threads may both get here: they find the same.
            _inject = import_module("opentelemetry.propagate").inject
        _inject(carrier)
    except Exception:  # whatever its propagators do, which users write and configure
        if _inject is None:
            _inject = _nothing  # it cannot even be imported: do not try on each call
        return {}
    return {key: carrier[key] for key, (fits, _) in _CHECKS.items() if key in carrier and fits(carrier[key])}


def _nothing(carrier: dict[str, str]) -> None:
    """What stands for OpenTelemetry where it is broken."""
