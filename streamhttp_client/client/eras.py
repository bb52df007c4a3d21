"""What was learned of servers: by which rules each of them speaks. It lives as long as the process, and heals.

"Clients SHOULD cache the result for the lifetime of the server process (stdio) or origin (HTTP), and MAY persist it
across restarts of the same server configuration, re-probing if the cached assumption later fails." MCP 2026-07-28,
basic/versioning, Backward Compatibility. Here it is kept for each endpoint, since a gateway may have several kinds of
servers behind one origin; for another endpoint of a known origin it is a guess, which costs little if it is wrong.

That a server knows an older way is no proof that it knows no newer one: what a gateway refuses while half of its
servers are new looks the same. So this holds for some minutes; then one probe finds out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ..protocol.negotiation import Step
from ..protocol.versions import Revision

__all__ = ["KNOWN_SERVERS", "KnownServers"]

_MOST = 1000
# For how long a server that was found to speak an older revision is not asked for a newer one: a probe in all that a
# process says to it within ten minutes costs nothing to speak of, and a deployment takes about as long.
_OLD_SECONDS = 600.0


class KnownServers:
    """Endpoints and origins, and how to begin with them. No credentials are in it.

    Threads share it: each operation on the dict is atomic, and one that comes in between makes no difference.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: dict[str, tuple[Step, float | None]] = {}  # and until when it holds

    def first_step(self, url: str) -> Step | None:
        """How to begin with a server, or None if nothing is known of it, or nothing that still holds."""
        endpoint, origin = _names(url)
        known = self._steps.get(endpoint)
        if known is not None:
            step = known[0]
            if not self._holds(known):
                return None
            return Step(step.action, step.revision, "as this endpoint was known to speak")
        known = self._steps.get(origin)
        if known is None or not self._holds(known) or known[0].action == "channel":
            return None
        action = "probe" if known[0].action == "speak" else known[0].action
        return Step(action, known[0].revision, "as another endpoint of this origin was known to speak")

    def _holds(self, known: tuple[Step, float | None]) -> bool:
        return known[1] is None or self._clock() < known[1]

    def learn(self, url: str, revision: Revision, *, channel: bool = False, probed: bool = True) -> None:
        """A server was found to speak so.

        Args:
            url: The endpoint.
            revision: What it speaks.
            channel: Whether over HTTP+SSE.
            probed: Whether it was asked for something newer before. If not, that it speaks so is no news, and holds no
                longer for it.
        """
        names = _names(url)
        if not revision.handshake:
            step, until = Step("speak", revision), None
        else:
            step, until = Step("channel" if channel else "shake"), self._clock() + _OLD_SECONDS
            for name in names if not probed else ():
                before = self._steps.get(name)
                if before is not None and before[1] is not None:
                    until = before[1]
                    break
        for name in names:
            self._steps.pop(name, None)  # so that it is the youngest
            self._steps[name] = step, until
        for name in list(self._steps)[:-_MOST]:  # a copy, since other threads learn too
            self._steps.pop(name, None)

    def forget(self, url: str) -> None:
        """What was known of it does not hold."""
        for name in _names(url):
            self._steps.pop(name, None)

    def clear(self) -> None:
        """Know nothing."""
        self._steps.clear()


KNOWN_SERVERS = KnownServers()
"""Those of this process."""


def _names(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    origin = f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"
    return origin + (parts.path or "/"), origin
