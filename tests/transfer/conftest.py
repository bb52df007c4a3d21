"""What the tests of transfers share."""

from __future__ import annotations

import pytest

from streamhttp_client.transfer import pace


@pytest.fixture
def every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold no report back, or a quick transfer may end before the callback has heard of its middle."""
    monkeypatch.setattr(pace, "_REPORT_SECONDS", 0.0)
