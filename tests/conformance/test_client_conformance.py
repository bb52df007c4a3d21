"""Our client passes the public conformance suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.suite import run_client

ADAPTER = Path(__file__).with_name("client.py")

SCENARIOS = {
    "2025-11-25": [
        "initialize",
        "tools_call",
        "elicitation-sep1034-client-defaults",
        "sse-retry",
        "json-schema-2020-12-preservation",
    ],
    "2026-07-28": [
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
        "json-schema-2020-12-preservation",
    ],
}


@pytest.mark.live
@pytest.mark.parametrize(
    ("revision", "scenario"), [(revision, name) for revision, names in SCENARIOS.items() for name in names]
)
def test_every_check_of_a_scenario_passes(revision: str, scenario: str, tmp_path: Path) -> None:
    """At least one check succeeds, none fails or warns, and the client leaves with 0; it finds out what to speak."""
    outcome = run_client(f"{sys.executable} {ADAPTER}", scenario, tmp_path, revision=revision)
    if outcome.exit_code != 0 or not outcome.passed(scenario):
        pytest.fail(outcome.report(), pytrace=False)
