"""``streamhttp get``, ``put`` and ``events``: transfers and event streams of any HTTP service.

The path or address that came of it goes to stdout, progress and errors to stderr. Run again after a failure, ``get``
and ``put --tus`` go on where they were.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..progress import OnProgress, Progress
from .display import make_display, printable
from .failures import USAGE, CommandFailed, describe, exit_status
from .options import add_connection, http_options

if TYPE_CHECKING:
    from ..exceptions import StreamHTTPError

__all__ = ["events", "get", "put"]

Runner = Callable[[argparse.Namespace], int]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def get(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp get``."""
    parser.description = (
        "Download a file. At DEST there is either the whole file in the end, or what was there before. What a broken "
        "or interrupted download leaves in DEST.part is gone on with when the same command is run again."
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument("dest", metavar="DEST", nargs="?", default=".", help="a file or a folder (default: this one)")
    parser.add_argument("--overwrite", action="store_true", help="replace DEST")
    parser.add_argument("--restart", action="store_true", help="do not go on with what is there")
    parser.add_argument("--digest", metavar="ALGORITHM:HEX", help="check the file, such as sha256:9f86d0…")
    parser.add_argument("--segments", type=int, default=1, metavar="N", help="connections at once (default: 1)")
    parser.add_argument("--limit", type=_size, metavar="BYTES", help="a second, at most; 500k and 2m are good too")
    _add_common(parser)
    return _get


def _get(options: argparse.Namespace) -> int:
    from ..exceptions import TargetExists
    from ..transfer.download import download
    from ..transfer.names import name_beside, name_for

    dest = options.dest
    if dest == "-":
        raise CommandFailed("a download goes on where it broke, which the standard output cannot; name a file", USAGE)
    if os.path.isdir(dest):  # the server may know a better name; then nothing is said of what it left
        dest = os.path.join(dest, name_for(None, options.url))
    left = None if options.restart else f"{name_beside(dest)}.part.json"
    with _going_on(left), _shown(_last(options.url), options.quiet) as show:
        try:
            result = download(
                options.url,
                options.dest,
                resume=not options.restart,
                overwrite=options.overwrite,
                digest=options.digest,
                segments=options.segments,
                rate_limit=options.limit,
                on_progress=show,
                **_connection(options),
            )
        except TargetExists as error:
            words = str(error).replace("pass overwrite=True to replace it", "--overwrite replaces it")
            raise CommandFailed(words) from error
    if result.total is None:
        print("streamhttp: the server did not say how long the file is; it may be cut short", file=sys.stderr)
    print(printable(result.path))
    return 0


def put(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp put``."""
    parser.description = (
        "Upload a file with PUT, with POST, as a form, or by tus. An interrupted upload by tus goes on when the same "
        "command is run again; what it needs for that is kept beside FILE."
    )
    parser.add_argument("file", metavar="FILE", help="- is the standard input")
    parser.add_argument("url", metavar="URL")
    how = parser.add_mutually_exclusive_group()
    for name, words in (("tus", "by tus 1.0"), ("post", "with POST"), ("multipart", "as a form, with POST")):
        how.add_argument(f"--{name}", dest="way", action="store_const", const=name, default="put", help=words)
    parser.add_argument("--field", default="file", metavar="NAME", help="of the form (default: file)")
    parser.add_argument("--type", metavar="TYPE", help="content type")
    parser.add_argument("--restart", action="store_true", help="do not go on with what is there")
    parser.add_argument("--digest", metavar="ALGORITHM:HEX", help="check the file, and tell the server")
    parser.add_argument("--segments", type=int, default=1, metavar="N", help="parts at once, with --tus (default: 1)")
    _add_common(parser)
    return _put


def _put(options: argparse.Namespace) -> int:
    from ..net.target import check_url
    from ..transfer.upload import sidecar_path, upload

    source: Any = sys.stdin.buffer if options.file == "-" else options.file
    keeps = options.way == "tus" and not options.restart
    left = sidecar_path(source, check_url(options.url)) if keeps else None
    with _going_on(left), _shown(os.path.basename(options.file), options.quiet) as show:
        result = upload(
            source,
            options.url,
            protocol=options.way,
            resume=not options.restart,
            digest=options.digest,
            segments=options.segments,
            field=options.field,
            content_type=options.type,
            on_progress=show,
            **_connection(options),
        )
    print(printable(result.url))
    return 0


def events(parser: argparse.ArgumentParser) -> Runner:
    """Add the options of ``streamhttp events``."""
    parser.description = (
        "Print the events of an address that sends server-sent events, until it says that there are no more, until "
        "Ctrl-C, or for --timeout seconds. A stream that breaks or ends is opened again after the last event."
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--json", action="store_true", help="print each event as JSON, with its type and id")
    parser.add_argument("--count", type=_count, metavar="N", help="end after N events")
    parser.add_argument("--last-event-id", metavar="ID", help="begin after this event")
    add_connection(parser, protocol=False)
    return _events


def _events(options: argparse.Namespace) -> int:
    from ..eventsource import EventSource
    from ..exceptions import CallTimeout

    seen = 0
    with EventSource(
        options.url, last_event_id=options.last_event_id, on_error=_say_why, **_connection(options)
    ) as source:
        try:
            for event in source:
                if options.json:
                    print(json.dumps({"type": event.type, "data": event.data, "id": event.id}, ensure_ascii=False))
                else:
                    kind = "" if event.type == "message" else f"[{printable(event.type)}] "
                    print(kind + "\n".join(printable(line) for line in event.data.split("\n")))
                sys.stdout.flush()
                seen += 1
                if seen == options.count:
                    break
        except CallTimeout:
            if not source.stats.connects:  # else it was listened to for as long as was asked for
                raise
    return 0


def _say_why(error: StreamHTTPError) -> None:
    """Why nothing comes: attempts and waits take minutes, which must not look like a feed that is quiet."""
    from ..eventsource.reconnecting import CleanEnd

    if not isinstance(error, CleanEnd):  # which is how many a feed is sent
        with contextlib.suppress(OSError):
            print(f"streamhttp: {describe(error)}; trying again", file=sys.stderr, flush=True)


# -- for all of them


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    add_connection(parser, protocol=False)


@contextlib.contextmanager
def _going_on(left: str | None) -> Iterator[None]:
    """Say of a transfer that ended early that the same command goes on, if ``left`` is there to say from where."""
    from ..exceptions import TransferError

    try:
        yield
    except (KeyboardInterrupt, TransferError) as error:
        resumable = error.resumable if isinstance(error, TransferError) else True
        if left is None or not resumable or not os.path.exists(left):
            raise
        raise CommandFailed(f"{describe(error)}; the same command goes on from there", exit_status(error)) from error


@contextlib.contextmanager
def _shown(label: str, quiet: bool) -> Iterator[OnProgress]:
    """A display for a transfer, which goes on when whoever looked at it has gone: the file is what is wanted."""
    display = make_display(label=label, unit="bytes", quiet=quiet)

    def show(progress: Progress) -> None:
        with contextlib.suppress(OSError):
            display.update(progress)

    display.__enter__()
    try:
        yield show
    finally:
        with contextlib.suppress(OSError):
            display.__exit__(*sys.exc_info())


def _connection(options: argparse.Namespace) -> dict[str, Any]:
    """What says how to reach the server. A session is only made for what needs one, since it costs time."""
    chosen = http_options(options)
    if "verify" in chosen:
        from ..net.borrowed import unverified_session

        del chosen["verify"]
        chosen["http"] = unverified_session()
    return chosen


def _last(url: str) -> str:
    return printable(url.partition("?")[0].rstrip("/").rpartition("/")[2])


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].lower()
    if unit.isdigit():
        number, unit = text, ""
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of bytes above 0, such as 500k or 2m, got {text!r}")
    return int(number) * _UNITS[unit]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)
