"""Our client passes the public conformance suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.suite import run_client

ADAPTER = Path(__file__).with_name("client.py")

SCENARIOS = [
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "json-schema-2020-12-preservation",
]


@pytest.mark.live
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_check_of_a_scenario_passes(scenario: str, tmp_path: Path) -> None:
    """At least one check succeeds, none fails or warns, and the client leaves with 0."""
    outcome = run_client(f"{sys.executable} {ADAPTER}", scenario, tmp_path)
    if outcome.exit_code != 0 or not outcome.passed(scenario):
        pytest.fail(outcome.report(), pytrace=False)
