"""What was learned of servers: by which rules each of them speaks. It lives as long as the process, and heals.

"Clients SHOULD cache the result for the lifetime of the server process (stdio) or origin (HTTP), and MAY persist it
across restarts of the same server configuration, re-probing if the cached assumption later fails." MCP 2026-07-28,
basic/versioning, Backward Compatibility. Here it is kept for each endpoint, since a gateway may have several kinds of
servers behind one origin; for another endpoint of a known origin it is a guess, which costs little if it is wrong.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ..protocol.negotiation import Step
from ..protocol.versions import Revision

__all__ = ["KNOWN_SERVERS", "KnownServers"]

_MOST = 1000


class KnownServers:
    """Endpoints and origins, and how to begin with them. No credentials are in it.

    Threads share it: each operation on the dict is atomic, and one that comes in between makes no difference.
    """

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def first_step(self, url: str) -> Step | None:
        """How to begin with a server, or None if nothing is known of it."""
        endpoint, origin = _names(url)
        step = self._steps.get(endpoint)
        if step is not None:
            return Step(step.action, step.revision, "as this endpoint was known to speak")
        step = self._steps.get(origin)
        if step is None or step.action == "channel":
            return None
        action = "probe" if step.action == "speak" else step.action
        return Step(action, step.revision, "as another endpoint of this origin was known to speak")

    def learn(self, url: str, revision: Revision, *, channel: bool = False) -> None:
        """A server was found to speak so."""
        if not revision.handshake:
            step = Step("speak", revision)
        else:
            step = Step("channel" if channel else "shake")
        for name in _names(url):
            self._steps.pop(name, None)  # so that it is the youngest
            self._steps[name] = step
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
