"""What holds for every test: none knows what another has learned of a server, and any report can be passed on."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator

import pytest

from streamhttp_client.client.eras import KNOWN_SERVERS


def pytest_configure() -> None:
    """Hear Ctrl-C: a background process of a shell starts with SIGINT ignored, and hands that down to the programs that
    some tests interrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _know_no_server() -> Iterator[None]:
    yield
    KNOWN_SERVERS.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have ``pytest -n 2 --dist loadgroup`` keep on one worker all tests of a file, or of a live peer.

    Peers take a second to start, and are asked from many files.
    """
    if config.getoption("loadgroup", False):
        for item in items:
            kind = getattr(item, "callspec", None) and item.callspec.params.get("peer")  # type: ignore[attr-defined]
            group = getattr(kind, "name", None) or item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in what a test printed and logged.

    Some tests send them and have them logged; pytest-xdist can pass on nothing but UTF-8, and ends the run there.
    """
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
