"""Has the assertions of the proofs explained like those of tests."""

from __future__ import annotations

import pytest

for name in ("client_rows", "more_rows", "server_rows", "table", "transport_rows", "worlds"):
    pytest.register_assert_rewrite(f"tests.support_table.{name}")
