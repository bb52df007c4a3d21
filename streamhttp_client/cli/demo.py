"""``streamhttp demo``: a long call over a connection that breaks again and again, and the proof that nothing is lost.

Three parties, all in this process and on loopback: our server, a cutter in the middle, and our client, which knows of
neither. The tool numbers its events; what the client got is compared with what the tool sent.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .._record import Record
from ..exceptions import MissingExtra
from ..progress import Progress
from .options import seconds

if TYPE_CHECKING:
    from ..server import Context, Server
    from .cutter import Cut
    from .display import Display

__all__ = ["demo"]

# Ends in the middle of a progress event, behind its number.
_NUMBER = re.compile(rb'"progress":([0-9]+),')
# Milliseconds after which the server asks a client to come back. Its default of a second would make the demo longer
# without showing more.
_RETRY_MS = 150


def demo(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Add the options of the demo."""
    parser.description = (
        "Start a server, a client, and between them something that cuts the connection in the middle of a long "
        "tool call, as often as asked. The exit status is 0 only if every event arrived once and in order, and all "
        "cuts happened."
    )
    parser.add_argument("--events", type=_count(1, 100_000), default=200, metavar="N", help="default: 200")
    parser.add_argument("--cuts", type=_count(0, 10_000), default=5, metavar="N", help="default: 5")
    parser.add_argument("--seconds", type=seconds, default=6.0, metavar="S", help="that the tool takes; default: 6")

    def run(options: argparse.Namespace) -> int:
        if options.cuts >= options.events:
            from .failures import USAGE, CommandFailed

            raise CommandFailed(
                f"{options.events} events can be cut {options.events - 1} times at the most, not {options.cuts}", USAGE
            )
        if find_spec("cheroot") is None:
            raise MissingExtra("the demo", "demo")
        return _run(options.events, options.cuts, options.seconds)

    return run


class Outcome(Record):
    """What both ends have seen.

    Attributes:
        sent: Numbers of the events, as the tool sent them.
        received: The same, as the client handed them out.
        reported: How many the tool says in its result; None if the result did not come.
        cuts: What the cutter did.
        resumed: How often it saw a request that took up the stream.
        seconds: For the call.
    """

    sent: tuple[int, ...]
    received: tuple[int, ...]
    reported: int | None
    cuts: tuple[Cut, ...]
    resumed: int
    seconds: float

    @property
    def missing(self) -> int:
        """Events that were sent and never received."""
        return len(set(self.sent) - set(self.received))

    @property
    def duplicates(self) -> int:
        """Events that were received more than once, each time but the first."""
        return len(self.received) - len(set(self.received))

    @property
    def complete(self) -> bool:
        """Whether each event arrived once and in order, and the result too."""
        return bool(self.sent) and self.received == self.sent and self.reported == len(self.sent)


def make_server(sent: list[int]) -> Server:
    """The server of the demo. Its tool appends to ``sent`` what it sends."""
    from ..server import Context, Server

    server = Server("streamhttp-demo", "1", "One tool that works for a while and says how far it is.")

    def crunch(events: int, seconds: float, ctx: Context) -> int:
        began = time.monotonic()
        for number in range(1, events + 1):
            # By the clock and not by adding pauses up, so that the demo takes as long as was asked.
            time.sleep(max(0.0, began + seconds * number / events - time.monotonic()))
            if ctx.cancelled:
                break
            ctx.progress(number, events, f"event {number}")
            sent.append(number)
        return len(sent)

    _annotate(crunch, Context)
    server.tool(description="Work for some seconds and report each step.")(crunch)
    return server


def _annotate(function: Callable[..., object], context: type[Context]) -> None:
    # The server reads type hints by name from the module, where Context is not imported until it is needed.
    function.__annotations__ = {"events": int, "seconds": float, "ctx": context, "return": int}


def run_demo(events: int, cuts: int, seconds: float, display: Display) -> Outcome:
    """Run the call and say what came of it.

    Raises:
        StreamHTTPError: The call failed.
    """
    from ..client import Client
    from ..server import MemoryStore
    from .cutter import Cutter

    sent: list[int] = []
    received: list[int] = []
    # Spread evenly, and never at the last event: behind it nothing would be left to resume for.
    plan = [max(1, round(events * number / (cuts + 1))) for number in range(1, cuts + 1)]
    store = MemoryStore(max_log_events=events + 100, max_log_bytes=(events + 100) * 1024)
    reported: int | None = None
    with (
        make_server(sent).serve(store=store, retry_ms=_RETRY_MS) as running,
        Cutter(
            running.url,
            number=_NUMBER,
            at=plan,
            on_cut=lambda cut: display.note(f"  cut {cut.number}: {cut.how} in the middle of event {cut.event}"),
            on_resume=lambda count: display.note(f"  resumed ({count})"),
        ) as cutter,
        # Streams are resumed in the session era alone. No proxy belongs between us and ourselves.
        Client(cutter.url, protocol="2025-11-25", timeout=seconds + 60.0, trust_env=False) as client,
        display,
    ):
        began = time.monotonic()
        with client.stream_tool("crunch", {"events": events, "seconds": seconds}, on_progress=display.update) as call:
            for event in call:
                if isinstance(event, Progress):
                    received.append(int(event.progress))
            data = call.result.data
        elapsed = time.monotonic() - began
        reported = data if isinstance(data, int) else int(call.result.text)
    return Outcome(tuple(sent), tuple(received), reported, tuple(cutter.cuts), cutter.resumed, elapsed)


def _run(events: int, cuts: int, seconds: float) -> int:
    from .display import make_display

    print(f"A tool call of {events} events in {seconds:g} s, over a connection that is cut {cuts} times:", flush=True)
    outcome = run_demo(events, cuts, seconds, make_display(sys.stdout, label="events"))
    print(summary(outcome))
    if not outcome.complete:
        print("FAILED: what arrived is not what was sent")
        return 1
    if len(outcome.cuts) < cuts or outcome.resumed < cuts:
        print(f"FAILED: {cuts} cuts were asked for, and each should have been resumed from")
        return 1
    print("Every event arrived once and in order.")
    return 0


def summary(outcome: Outcome) -> str:
    """The outcome as a small table."""
    resets = sum(cut.how == "reset" for cut in outcome.cuts)
    rows = (
        ("events sent", str(len(outcome.sent)), ""),
        ("events received", str(len(outcome.received)), ""),
        ("duplicates", str(outcome.duplicates), ""),
        ("missing", str(outcome.missing), ""),
        ("connections cut", str(len(outcome.cuts)), f"{resets} reset, {len(outcome.cuts) - resets} closed"),
        ("times resumed", str(outcome.resumed), ""),
        ("seconds", f"{outcome.seconds:.1f}", ""),
    )
    return "\n".join(f"  {name:<16}{value:>8}  {more}".rstrip() for name, value, more in rows)


def _count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
        return value

    return read
