"""From the arguments to a command, and from its end to an exit status."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

from .._version import __version__

__all__ = ["run"]


class _Command(NamedTuple):
    """A command is a function: it fills a parser, and returns what runs the parsed arguments."""

    module: str
    function: str
    summary: str


# A module is imported when its command is chosen, and not before: the others cost nothing.
_COMMANDS = {
    "demo": _Command("demo", "demo", "break a stream on purpose, and show that nothing is lost"),
    "info": _Command("commands", "info", "show what a server says of itself"),
    "tools": _Command("commands", "tools", "list the tools of a server"),
    "call": _Command("commands", "call", "call a tool"),
    "listen": _Command("commands", "listen", "print what a server tells without being asked"),
    "get": _Command("transfers", "get", "download, and go on where it broke"),
    "put": _Command("transfers", "put", "upload, and go on where it broke"),
    "events": _Command("transfers", "events", "print the events of any SSE address"),
    "serve": _Command("serve", "serve", "serve the tools of a Python module"),
}

_EXITS = """\
exit status:
  0    it worked
  1    the tool, call or transfer failed
  2    the arguments cannot be used
  3    the server could not be reached, refused, or is no MCP server
  130  interrupted with Ctrl-C
  143  ended by SIGTERM
"""

Runner = Callable[[argparse.Namespace], int]


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line; see :func:`streamhttp_client.cli.main`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):  # None if it was closed, as some schedulers do
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
    try:
        parser, runner, rest = _choose(arguments)
        options = parser.parse_intermixed_args(rest)  # `call URL TOOL a=1 --json b=2`
    except SystemExit as end:  # argparse: 0 after --help, 2 after a mistake, which it has explained
        return end.code if isinstance(end.code, int) else 2
    if runner is None:
        parser.print_help(sys.stderr)
        return 2
    if options.verbose:
        level = logging.INFO if options.verbose == 1 else logging.DEBUG
        logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        with _ended_by_sigterm():
            status = runner(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`). The interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        from .failures import describe, exit_status

        if options.verbose:
            logging.getLogger("streamhttp_client").error("failed", exc_info=error)
        print(f"streamhttp: {describe(error)}", file=sys.stderr)
        return exit_status(error)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: the server is told, the terminal gets its cursor back, what came is kept.

    A second one ends the process at once. Who handles the signal already, or ignores it, is left alone.
    """
    from .failures import Terminated

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated

    number = signal.SIGTERM
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def _choose(arguments: list[str]) -> tuple[argparse.ArgumentParser, Runner | None, list[str]]:
    """The parser for these arguments, what runs its outcome, and the arguments that are left for it."""
    present = {name: command for name, command in _COMMANDS.items() if _present(name)}
    name = arguments[0] if arguments else ""
    if name in present:
        from importlib import import_module

        command = present[name]
        parser = argparse.ArgumentParser(
            prog=f"streamhttp {name}",
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=_EXITS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add = getattr(import_module(f"{__package__}.{command.module}"), command.function)
        runner: Runner = add(parser)
        parser.description = textwrap.fill(parser.description or "", 79)  # the formatter leaves both texts alone
        parser.add_argument(
            "-v",
            "--verbose",
            action="count",
            default=0,
            help="log to stderr, and show where errors came from; -vv: more",
        )
        return parser, runner, arguments[1:]
    width = max(map(len, present))
    parser = argparse.ArgumentParser(
        prog="streamhttp",
        description="Use any server that speaks Streamable HTTP, the transport of the Model Context Protocol.",
        epilog="commands:\n"
        + "".join(f"  {name:<{width}}  {command.summary}\n" for name, command in present.items())
        + "\n'streamhttp COMMAND --help' says more.\n\n"
        + _EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="streamhttp [--version] COMMAND …",
    )
    parser.add_argument("--version", action="version", version=f"streamhttp-client {__version__}")
    if name and not name.startswith("-"):
        parser.error(f"there is no command {name!r}; the commands are {', '.join(present)}")
    return parser, None, arguments


def _present(name: str) -> bool:
    """Whether the module of a command is there."""
    return find_spec(f"{__package__}.{_COMMANDS[name].module}") is not None
