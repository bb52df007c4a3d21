"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from typing import Any

__all__ = ["add_connection", "client_options", "http_options", "seconds"]

AUTH_VARIABLE = "STREAMHTTP_AUTH"
TOKEN_VARIABLE = "STREAMHTTP_TOKEN"


def add_connection(parser: argparse.ArgumentParser, *, protocol: bool = True) -> None:
    """Add what says how to reach a server.

    Args:
        protocol: Whether the command speaks MCP, and so knows revisions.
    """
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--header",
        action="append",
        type=_header,
        default=[],
        metavar="'Name: value'",
        help="may be given several times",
    )
    group.add_argument(
        "--auth",
        type=_credentials,
        metavar="USER:PASSWORD",
        help=f"HTTP Basic. Better in ${AUTH_VARIABLE}, since others can see your arguments; ${TOKEN_VARIABLE} is sent "
        "as a bearer token",
    )
    group.add_argument("--timeout", type=seconds, metavar="SECONDS", help="for the whole of one call")
    group.add_argument("--insecure", action="store_true", help="do not check the certificate of the server")
    if protocol:
        group.add_argument("--protocol", default="auto", metavar="REVISION", help="such as 2025-06-18 (default: auto)")
        group.add_argument("--max-size", type=_mebibytes, metavar="MIB", help="of one message (default: 64)")


def http_options(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments that the client and the transfers have in common."""
    headers = dict(options.header)
    auth = options.auth
    if auth is None and os.environ.get(AUTH_VARIABLE):
        try:
            auth = _credentials(os.environ[AUTH_VARIABLE])
        except argparse.ArgumentTypeError as error:
            from .failures import USAGE, CommandFailed

            raise CommandFailed(f"${AUTH_VARIABLE} {error}", USAGE) from None
    token = os.environ.get(TOKEN_VARIABLE)
    if auth is None and token and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = f"Bearer {token}"
    chosen: dict[str, Any] = {"headers": headers or None, "auth": auth, "timeout": options.timeout}
    if options.insecure:
        chosen["verify"] = False
    return chosen


def client_options(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments for a :class:`Client`."""
    chosen = {**http_options(options), "protocol": options.protocol}
    if options.max_size is not None:
        chosen["max_message_size"] = options.max_size
    return chosen


def _mebibytes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1 << 20:
        raise argparse.ArgumentTypeError(f"must be a whole number of MiB above 0, got {text!r}")
    return int(text) << 20


def seconds(text: str) -> float:
    """A positive number of seconds; for ``type=``."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        # Not repeated: it may be a token.
        raise argparse.ArgumentTypeError("must look like 'Name: value'")
    return name.strip(), value.strip()


def _credentials(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("must look like USER:PASSWORD")
    return user, password
