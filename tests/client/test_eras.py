"""What is remembered of servers: how to begin with each endpoint, what to guess of others, and no secrets."""

from __future__ import annotations

import sys
import threading

import pytest

from streamhttp_client.client.eras import KNOWN_SERVERS, KnownServers
from streamhttp_client.protocol.versions import LATEST, LATEST_SESSION, REVISIONS, Revision

URL = "https://h.example/mcp"


@pytest.fixture
def known() -> KnownServers:
    return KnownServers()


def step(known: KnownServers, url: str) -> tuple[str, str | None] | None:
    """How to begin, without the words, which must be there."""
    found = known.first_step(url)
    if found is None:
        return None
    assert found.why
    return found.action, None if found.revision is None else found.revision.name


def test_nothing_is_known_at_first(known: KnownServers) -> None:
    """V26-08: nothing is assumed of a server that was never asked; to forget it does no harm."""
    assert step(known, URL) is None
    known.forget(URL)
    assert step(known, URL) is None


def test_a_modern_server(known: KnownServers) -> None:
    """V26-04, V26-08: an endpoint of the stateless era is spoken to at once, and not probed again."""
    known.learn(URL, LATEST)
    assert step(known, URL) == ("speak", "2026-07-28")


@pytest.mark.parametrize("name", [name for name, revision in REVISIONS.items() if revision.handshake])
def test_a_session_server(known: KnownServers, name: str) -> None:
    """V26-08: only that a handshake is due is remembered, and not which revision came of it: that may change."""
    known.learn(URL, REVISIONS[name])
    assert step(known, URL) == ("shake", None)


def test_an_http_sse_server(known: KnownServers) -> None:
    """V26-08, O-03: the channel is remembered, at whatever revision; other endpoints of the origin are not guessed from
    it, for a gateway may well have the one beside the other.
    """
    known.learn(URL, LATEST_SESSION, channel=True)
    assert step(known, URL) == ("channel", None)
    assert step(known, "https://h.example/other") is None


@pytest.mark.parametrize(("revision", "guess"), [(LATEST, ("probe", "2026-07-28")), (LATEST_SESSION, ("shake", None))])
def test_another_endpoint_of_the_origin(known: KnownServers, revision: Revision, guess: tuple[str, str | None]) -> None:
    """V26-08: the era is remembered for the origin; for another endpoint it is a guess, which is checked."""
    known.learn(URL, revision)
    for url in ("https://h.example/other", "https://h.example", "https://h.example/mcp/"):
        assert step(known, url) == guess
    for url in ("http://h.example/mcp", "https://h.example:8443/mcp", "https://other.example/mcp"):
        assert step(known, url) is None


@pytest.mark.parametrize(
    "url", ["HTTPS://h.example/mcp", "https://H.Example/mcp", "https://h.example/mcp?key=1", "https://h.example/mcp#x"]
)
def test_the_same_endpoint(known: KnownServers, url: str) -> None:
    """V26-08: case of scheme and host, query and fragment make no other endpoint; case of the path does."""
    known.learn(URL, LATEST)
    assert step(known, url) == ("speak", "2026-07-28")
    assert step(known, "https://h.example/MCP") == ("probe", "2026-07-28")


def test_secrets_are_not_kept(known: KnownServers) -> None:
    """V26-08: neither user names nor passwords nor queries are remembered, and they make no other endpoint."""
    known.learn("https://user:pass%40word@h.example/mcp?token=geheim#frag", LATEST)
    assert step(known, URL) == ("speak", "2026-07-28")
    everything = repr(vars(known))
    assert "h.example/mcp" in everything
    for secret in ("user", "pass", "word", "token", "geheim", "frag"):
        assert secret not in everything


def test_the_last_word_counts(known: KnownServers) -> None:
    """V26-08: what was learned last of an endpoint holds, and what was learned last of any gives the guess."""
    known.learn(URL, LATEST)
    known.learn(URL, LATEST_SESSION)
    assert step(known, URL) == ("shake", None)
    known.learn("https://h.example/b", LATEST)
    assert step(known, URL) == ("shake", None)
    assert step(known, "https://h.example/c") == ("probe", "2026-07-28")


def test_forgetting(known: KnownServers) -> None:
    """V26-08: a failed assumption goes, the guess of the origin with it; other endpoints keep what was found out."""
    known.learn("https://h.example/other", LATEST)
    known.learn(URL, LATEST)
    known.forget(URL)
    assert step(known, URL) is None
    assert step(known, "https://h.example/other") == ("speak", "2026-07-28")
    known.clear()
    assert step(known, "https://h.example/other") is None


def test_it_does_not_grow_for_ever(known: KnownServers) -> None:
    """V26-08: a thousand entries are kept, and the ones that were learned first go first."""
    known.learn(URL, LATEST)
    for number in range(5000):
        known.learn(f"https://h{number}.example/mcp", LATEST)
        if number % 100 == 0:
            known.learn(URL, LATEST)  # learned again, so it is young
    assert len(vars(known)["_steps"]) == 1000
    assert step(known, URL) == step(known, "https://h4999.example/mcp") == ("speak", "2026-07-28")
    assert step(known, "https://h0.example/mcp") is None


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("revision", "channel"), [(LATEST_SESSION, False), (REVISIONS["2024-11-05"], True)])
def test_an_older_way_holds_for_some_minutes(revision: Revision, channel: bool) -> None:
    """V26-08: a server that was found to be an older one is asked again after ten minutes; what it then says holds
    again, and that it still speaks the older way without being asked does not count.
    """
    clock = Clock()
    known = KnownServers(clock)
    known.learn(URL, revision, channel=channel)
    first = step(known, URL)
    clock.now += 599
    known.learn(URL, revision, channel=channel, probed=False)
    known.learn("https://h.example/other", revision, channel=channel, probed=False)
    assert step(known, URL) == first
    clock.now += 2
    for url in (URL, "https://h.example/other", "https://h.example/third"):
        assert step(known, url) is None
    known.learn(URL, revision, channel=channel, probed=False)
    assert step(known, URL) is None
    known.learn(URL, revision, channel=channel)
    assert step(known, URL) == first


def test_the_newest_way_holds() -> None:
    """V26-08: a server that speaks the newest revision is not probed again, however long ago it was."""
    clock = Clock()
    known = KnownServers(clock)
    known.learn(URL, LATEST)
    clock.now += 1e9
    assert step(known, URL) == ("speak", "2026-07-28")


def test_threads_share_it(known: KnownServers) -> None:
    """V26-08: threads that learn, ask and forget at once neither fail nor leave more than may be kept."""
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            start.wait(10)
            for turn in range(2000):
                url = f"https://h{number * turn % 700}.example/{turn % 3}"
                known.learn(url, LATEST if turn % 2 else LATEST_SESSION)
                assert step(known, url) in (("speak", "2026-07-28"), ("shake", None), ("probe", "2026-07-28"), None)
                if turn % 5 == 0:
                    known.forget(url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they get in each other's way
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert not failures
    assert len(vars(known)["_steps"]) <= 1000


def test_the_one_of_the_process_is_shared() -> None:
    """V26-08: all clients of a process share what was learned."""
    KNOWN_SERVERS.learn(URL, LATEST)
    assert step(KNOWN_SERVERS, URL) == ("speak", "2026-07-28")
