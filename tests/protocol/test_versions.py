"""The revisions, and what each of them can do."""

from __future__ import annotations

import pytest

from streamhttp_client import LocalProtocolError
from streamhttp_client.protocol.versions import (
    LATEST,
    LATEST_SESSION,
    REVISIONS,
    find_revision,
    find_session_revision,
    find_stateless_revision,
    get_revision,
)


def test_the_latest_is_offered_first() -> None:
    """L25-04: the newest revision stands first, and the dates go down from there."""
    assert list(REVISIONS) == ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
    assert next(iter(REVISIONS.values())) is LATEST
    assert next(revision for revision in REVISIONS.values() if revision.handshake) is LATEST_SESSION
    assert all(name == revision.name for name, revision in REVISIONS.items())


@pytest.mark.parametrize(
    ("name", "abilities"),
    [
        ("2026-07-28", set()),
        ("2025-11-25", {"handshake", "polling", "tasks"}),
        ("2025-06-18", {"handshake"}),
        ("2025-03-26", {"handshake", "batches"}),
        ("2024-11-05", {"handshake", "two_channels"}),
    ],
)
def test_what_each_revision_can_do(name: str, abilities: set[str]) -> None:
    """O-01, O-02, O-03, H25-03: what belongs to one revision and to no other."""
    revision = get_revision(name)
    every = ("handshake", "batches", "polling", "tasks", "two_channels")
    assert {ability for ability in every if getattr(revision, ability)} == abilities
    assert find_session_revision(name) is (revision if "handshake" in abilities else None)


@pytest.mark.parametrize("name", ["", "auto", "2024-10-07", "2026-7-28", "2025-6-18", "2025-11-25 ", "latest"])
def test_revisions_that_are_not_spoken(name: str) -> None:
    """L25-05: any other name is not found, and asking for it is the caller's error, which lists what there is."""
    assert find_revision(name) is None and find_session_revision(name) is None
    with pytest.raises(LocalProtocolError, match="'2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26'"):
        get_revision(name)


@pytest.mark.parametrize("name", [*REVISIONS, "2099-01-01", ""])
def test_each_revision_is_of_one_era(name: str) -> None:
    """With a handshake, or without; a revision that nobody knows is of none."""
    found = [find_session_revision(name), find_stateless_revision(name)]
    assert [revision for revision in found if revision is not None] == ([REVISIONS[name]] if name in REVISIONS else [])
    assert find_stateless_revision(LATEST.name) is LATEST and find_session_revision(LATEST_SESSION.name)


FORMS_AND_PAGES = {"form": {}, "url": {}}


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("2024-11-05", {"roots": {"listChanged": True}, "sampling": {}}),
        ("2025-03-26", {"roots": {"listChanged": True}, "sampling": {}}),
        ("2025-06-18", {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}),
        (
            "2025-11-25",
            {"roots": {"listChanged": True}, "sampling": {"tools": {}}, "elicitation": FORMS_AND_PAGES},
        ),
        (
            "2026-07-28",
            {"roots": {}, "sampling": {"tools": {}}, "elicitation": FORMS_AND_PAGES, "extensions": {"a/b": {}}},
        ),
    ],
)
def test_what_a_client_declares_in_each_revision(name: str, declared: dict[str, object]) -> None:
    """L25-06: nothing that the revision does not have; and nothing that the client does not have."""
    everything = {
        "roots": {"listChanged": True}, "sampling": {"tools": {}}, "elicitation": FORMS_AND_PAGES,
        "extensions": {"a/b": {}}, "unheard": {},
    }  # fmt: skip
    revision = get_revision(name)
    assert revision.declared(everything) == declared
    assert revision.declared({}) == {}
    assert hash(revision) == hash(get_revision(name))
