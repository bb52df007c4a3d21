"""``streamhttp serve module:server``: a server of this package in this process, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .failures import USAGE, CommandFailed

if TYPE_CHECKING:
    from ..server import Server, Store

__all__ = ["serve"]

Runner = Callable[[argparse.Namespace], int]


def serve(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp serve``."""
    parser.add_argument(
        "target", metavar="MODULE:NAME", help="where the Server object is; a function without arguments may make it"
    )
    parser.add_argument("--app-dir", default=".", help="folder to find the module in (default: this one)")
    parser.add_argument("--host", default="127.0.0.1", help="interface to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--path", default="/mcp", help="path of the endpoint (default: %(default)s)")
    parser.add_argument("--stateless", action="store_true", help="keep no sessions")
    parser.add_argument("--json", action="store_true", help="answer with JSON only, never with a stream")
    parser.add_argument("--store", metavar="WHERE", help="redis://… or the path of an SQLite file (default: memory)")
    parser.add_argument(
        "--allow-host",
        metavar="HOST",
        action="append",
        help="a name under which clients reach this server, besides this machine's own; may be repeated",
    )
    parser.add_argument(
        "--allow-origin", metavar="ORIGIN", action="append", help="a web page that may call; may be repeated"
    )
    return _serve


def _serve(options: argparse.Namespace) -> int:
    server = _find(options.target, options.app_dir)
    store = _make_store(options.store)
    hosts = ["localhost", "127.0.0.1", "[::1]", *options.allow_host] if options.allow_host else None
    try:
        with (
            _Signals() as signals,
            server.serve(
                options.host,
                options.port,
                options.path,
                stateless=options.stateless,
                json_response=options.json,
                store=store,
                allowed_hosts=hosts,
                allowed_origins=options.allow_origin,
            ) as running,
        ):
            if hosts is None and not _is_loopback(options.host):
                hint = "only this machine's own names are let in; say with --allow-host how others call it"
                print(f"streamhttp: {hint}", file=sys.stderr, flush=True)
            print(running.url, flush=True)
            signals.wait()
            print("streamhttp: stopping", file=sys.stderr, flush=True)
    finally:
        if store is not None:
            store.close()
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is between 0 and 65535, got {port}")
    return port


class _Signals:
    """Waits for SIGINT or SIGTERM.

    On a socket, into which the interpreter writes when a signal comes, whatever thread the system gives it to. A wait
    for a lock or an event ends only if that is the main thread, which it mostly is, and not always.
    """

    def __enter__(self) -> _Signals:
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def wait(self) -> None:
        """Block until the first one has come, also if it came before."""
        self._reading.recv(1)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reading.close()
        self._writing.close()


def _find(target: str, folder: str) -> Server:
    from ..server import Server, WSGIApp

    module_name, separator, name = target.partition(":")
    if not separator or not module_name or not name:
        raise CommandFailed(f"expected MODULE:NAME, such as tools:server, got {target!r}", USAGE)
    # As `python -m` does; scripts and gunicorn find modules in the same way.
    sys.path.insert(0, os.path.abspath(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the module is there, and imports one that is not
        advice = f"; write {module_name.removesuffix('.py')}:{name}" if module_name.endswith(".py") else ""
        raise CommandFailed(f"there is no module {module_name!r} in {folder!r}{advice}", USAGE) from error
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise CommandFailed(f"there is no {name!r} in the module {module_name!r}", USAGE) from error
    if not isinstance(found, (Server, WSGIApp)) and _can_make(found):
        found = found()
    if isinstance(found, WSGIApp):
        advice = "give the Server that it was made from, or run it with a WSGI server such as gunicorn"
        raise CommandFailed(f"{target} is a WSGI application: {advice}", USAGE)
    if not isinstance(found, Server):
        wanted = "must be a Server, or a function without arguments that makes one"
        raise CommandFailed(f"{target} {wanted}, got {found!r:.60}", USAGE)
    return found


def _can_make(found: Any) -> bool:
    import inspect  # takes its time, which no other command needs

    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):
        return False
    return True


def _make_store(where: str | None) -> Store | None:
    if where is None:
        return None
    from ..server import RedisStore, SQLiteStore

    if where.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(where)
    folder = os.path.dirname(os.path.abspath(where))
    if not os.path.isdir(folder):
        raise CommandFailed(f"the folder of --store is not there: {folder!r}", USAGE)
    return SQLiteStore(where)
