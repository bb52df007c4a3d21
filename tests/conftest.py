"""What holds for every test: none knows what another has learned of a server, and any report can be passed on."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from streamhttp_client.client.eras import KNOWN_SERVERS


@pytest.fixture(autouse=True)
def _know_no_server() -> Iterator[None]:
    yield
    KNOWN_SERVERS.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in what a test printed and logged.

    Some tests send them and have them logged; pytest-xdist can pass on nothing but UTF-8, and ends the run there.
    """
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
