"""Every test of the transport ends with no thread and no socket more than it began with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transport._faults import nothing_left


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield
