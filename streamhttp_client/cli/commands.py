"""``streamhttp info``, ``tools``, ``call`` and ``listen``: an MCP server from the command line.

What was asked for goes to stdout, all else (progress, log messages, errors) to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .display import make_display, printable
from .failures import FAILED, UNREACHABLE, USAGE, CommandFailed
from .options import add_connection, client_options

if TYPE_CHECKING:
    from ..client import Client
    from ..protocol.models.notifications import LogMessage
    from ..protocol.models.tools import Tool, ToolResult

__all__ = ["call", "info", "listen", "tools"]

Runner = Callable[[argparse.Namespace], int]


# -- info

_ERAS = {
    "stateless": "stateless: each request says all that the server needs to know",
    "session": "session: agreed with a handshake",
    "http+sse": "HTTP+SSE: agreed with a handshake, and everything comes on one stream",
}


def info(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp info``."""
    _add_common(parser)
    return _info


def _info(options: argparse.Namespace) -> int:
    with _reached(options, end_session=True) as client:
        session, era, steps = client.session, client.era, client.negotiation
    server, capabilities = session.server_info, session.capabilities
    declared = {} if capabilities is None else capabilities.to_wire()
    if options.json:
        _print_json(
            {
                "url": session.url,
                "protocolVersion": session.protocol_version,
                "era": era,
                "negotiation": list(steps),
                "serverInfo": None if server is None else server.to_wire(),
                "capabilities": declared,
                "instructions": session.instructions,
                "keepsSession": session.session_id is not None,
            }
        )
        return 0
    rows = [("address", session.url)]
    if server is not None:
        rows.append(("server", f"{server.title or server.name} {server.version}"))
    rows.append(("revision", session.protocol_version or ""))
    rows.append(("era", _ERAS.get(era or "", era or "")))
    rows.append(("agreed", "; ".join(steps)))
    rows.append(("session", "yes" if session.session_id is not None else "no, it is stateless"))
    rows.append(("offers", ", ".join(_features(declared)) or "nothing"))
    for name, value in rows:
        _print(f"{name:<10}{value}")
    if session.instructions:
        _print("")
        _print(session.instructions)
    return 0


def _features(declared: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(declared.items()):
        more = [key for key, on in sorted(value.items()) if on is True] if isinstance(value, Mapping) else []
        yield f"{name} ({', '.join(more)})" if more else name


# -- tools


def tools(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp tools``."""
    _add_common(parser)
    return _tools


def _tools(options: argparse.Namespace) -> int:
    with _connected(options) as client:
        found = client.list_tools()
    if options.json:
        _print_json([tool.to_wire() for tool in found])
        return 0
    for tool in found:
        _print(signature(tool))
        for line in (tool.description or "").strip().splitlines():
            _print(f"    {line}".rstrip())
    if not found:
        print("the server has no tools", file=sys.stderr)
    return 0


def signature(tool: Tool) -> str:
    """A tool and what ``streamhttp call`` takes for it, in one line: ``crunch rows=integer [mode=string]``."""
    properties, required = tool.input_schema.get("properties"), tool.input_schema.get("required")
    words = [tool.name]
    if isinstance(properties, Mapping):
        needed = required if isinstance(required, list) else []
        # Those that must be given come first, as in any usage line.
        for name, schema in sorted(properties.items(), key=lambda item: item[0] not in needed):
            word = f"{name}={_kind(schema)}"
            words.append(word if name in needed else f"[{word}]")
    return " ".join(words)


def _kind(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return "|".join(dict.fromkeys(_kind(each) for each in schema[key]))
    if isinstance(schema.get("enum"), list):
        return "|".join(map(str, schema["enum"]))
    kind = schema.get("type", "any")
    return "|".join(map(str, kind)) if isinstance(kind, list) else str(kind)


# -- call


def call(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp call``."""
    _add_common(parser)
    parser.description = (
        "Call a tool and print its result. Progress and log messages go to stderr. If the connection breaks, the "
        "answer is resumed where the server allows it."
    )
    parser.add_argument("tool", metavar="TOOL")
    parser.add_argument(
        "arguments",
        nargs="*",
        type=_argument,
        default=[],
        metavar="key=value",
        help="a value that is JSON counts as that, anything else as text; key='\"5\"' is the text 5",
    )
    parser.add_argument("--arg-json", type=_object, default={}, metavar="'{…}'", help="all arguments at once, as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress and no log messages")
    return _call


def _call(options: argparse.Namespace) -> int:
    from ..exceptions import ToolError

    with (
        _connected(options) as client,
        make_display(label=options.tool, quiet=options.quiet) as display,
        client.stream_tool(
            options.tool,
            {**options.arg_json, **dict(options.arguments)},
            on_progress=display.update,
            on_log=lambda message: display.note(_log_line(message)),
        ) as running,
    ):
        try:
            result: ToolResult = running.result
        except ToolError as error:
            result = error.result
    if options.json:
        _print_json(result.to_wire())
    elif not result.is_error:
        _print_result(result)
    if result.is_error:
        raise CommandFailed(f"the tool failed: {result.text or 'it did not say why'}", FAILED)
    return 0


def _print_result(result: ToolResult) -> None:
    from ..protocol.models.content import TextContent

    if not result.content and result.structured_content is not None:
        _print_json(result.structured_content)
    for block in result.content:
        if isinstance(block, TextContent):
            _print(block.text)
        else:
            _print(f"[{describe_block(block)}]")


def describe_block(block: Any) -> str:
    """What stands for a block that is not text, since a terminal cannot show it; ``--json`` has all of it."""
    details = [getattr(block, "mime_type", None), getattr(block, "uri", None)]
    resource = getattr(block, "resource", None)
    if resource is not None:
        details += [resource.mime_type, resource.uri]
    data = getattr(block, "data", None)
    if isinstance(data, str):
        details.append(f"{len(data) * 3 // 4 - data[-2:].count('=')} bytes")
    return ", ".join([block.type.replace("_", " "), *filter(None, details)])


def _argument(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"must look like key=value, got {text!r}")
    try:
        return key, json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return key, value


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object, such as '{\"rows\": 5}'")
    return value


def _refuse(constant: str) -> None:
    # Python reads NaN and Infinity, which JSON does not have and no server could be sent.
    raise ValueError(f"{constant} is not JSON")


# -- listen


def listen(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp listen``."""
    _add_common(parser)
    parser.description = (
        "Print what the server tells without being asked, until Ctrl-C, or for --timeout seconds. A stream that "
        "breaks is opened again."
    )
    parser.add_argument("--count", type=_positive, metavar="N", help="end after N notifications")
    return _listen


def _listen(options: argparse.Namespace) -> int:
    seen = 0
    with _connected(options) as client, client.listen(timeout=options.timeout) as events:
        if events.available and sys.stderr.isatty():
            print("listening; Ctrl-C ends", file=sys.stderr)
        for event in events:
            seen += 1
            if options.json:
                _print_json({"method": event.method, "params": event.to_wire()}, indent=None)
            elif event.method == "notifications/message":
                _print(_log_line(event))
            else:
                params = event.to_wire()
                text = json.dumps(params, ensure_ascii=False) if params else ""
                _print(f"{event.method.removeprefix('notifications/')} {text}".rstrip())
            sys.stdout.flush()
            if seen == options.count:
                return 0
        if events.available is False:
            raise CommandFailed("the server has no listening stream (405)", UNREACHABLE)
    return 0


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)


# -- for all of them


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the endpoint, such as https://example.com/mcp")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    add_connection(parser)


@contextmanager
def _reached(options: argparse.Namespace, *, end_session: bool) -> Iterator[Client]:
    """A client that knows its server; one that cannot be reached or spoken with is exit status 3.

    With few attempts: whoever mistyped a port wants to know now.
    """
    from ..client import Client
    from ..exceptions import LocalProtocolError, StreamHTTPError
    from ..net.retry import RetryPolicy

    chosen = client_options(options)
    try:
        with Client(options.url, **chosen, retry=RetryPolicy(attempts=2), end_session=end_session) as client:
            client.session  # noqa: B018  # asks the server who it is, in whichever way
            yield client
    except LocalProtocolError as error:
        raise CommandFailed(str(error), USAGE) from error
    except StreamHTTPError as error:
        raise CommandFailed(str(error), UNREACHABLE) from error


@contextmanager
def _connected(options: argparse.Namespace) -> Iterator[Client]:
    """A client of a server that was reached; from now on it gets the patience that a long call needs."""
    from ..client import Client

    with _reached(options, end_session=False) as first:
        session = first.session
    with Client.resume(session, url=options.url, **client_options(options), end_session=True) as client:
        yield client


def _log_line(message: LogMessage) -> str:
    data = message.data
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"{message.level}: {f'{message.logger}: ' if message.logger else ''}{text}"


def _print(text: str) -> None:
    # A file gets what the server sent, byte for byte; a terminal must not be steered by it.
    print(printable(text) if sys.stdout.isatty() else text)


def _print_json(value: Any, *, indent: int | None = 2) -> None:
    _print(json.dumps(value, indent=indent, ensure_ascii=False))
