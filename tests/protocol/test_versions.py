"""The revisions, and what each of them can do."""

from __future__ import annotations

import pytest

from streamhttp_client import LocalProtocolError
from streamhttp_client.protocol.versions import LATEST, REVISIONS, find_revision, get_revision


def test_the_latest_is_offered_first() -> None:
    """L25-04: the newest revision stands first, and the dates go down from there."""
    assert next(iter(REVISIONS.values())) is LATEST
    assert list(REVISIONS) == sorted(REVISIONS, reverse=True) == ["2025-11-25", "2025-06-18", "2025-03-26"]
    assert all(name == revision.name for name, revision in REVISIONS.items())


@pytest.mark.parametrize(
    ("name", "batches", "polling", "tasks"),
    [
        ("2025-11-25", False, True, True),
        ("2025-06-18", False, False, False),
        ("2025-03-26", True, False, False),
    ],
)
def test_what_each_revision_can_do(name: str, batches: bool, polling: bool, tasks: bool) -> None:
    """O-01, O-02, H25-03: batches belong to the first one, polling and tasks to the last."""
    revision = get_revision(name)
    assert (revision.batches, revision.polling, revision.tasks) == (batches, polling, tasks)


@pytest.mark.parametrize("name", ["", "auto", "2024-11-05", "2026-07-28", "2025-6-18", "2025-11-25 ", "latest"])
def test_revisions_that_are_not_spoken(name: str) -> None:
    """L25-05: any other name is not found, and asking for it is the caller's error, which lists what there is."""
    assert find_revision(name) is None
    with pytest.raises(LocalProtocolError, match="'2025-11-25', '2025-06-18', '2025-03-26'"):
        get_revision(name)
