"""Every test of the network layer ends with no thread and no socket more than it began with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from streamhttp_client.net.http import HTTP
from tests.net._send import WAYS, Certificates
from tests.transport._faults import nothing_left


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with nothing_left():
        yield


@pytest.fixture(params=WAYS)
def make_http(request: pytest.FixtureRequest) -> Iterator[Callable[..., HTTP]]:
    """Makes an :class:`HTTP` on each of the two ways, and closes it."""
    made: list[HTTP] = []

    def make(**options: object) -> HTTP:
        made.append(WAYS[request.param](**options))
        return made[-1]

    make.way = request.param  # type: ignore[attr-defined]
    yield make
    for http in made:
        http.close()
        http.session.close()  # the caller's own business, where it is the caller's


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for two days, made with the openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl is missing: install the package openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))
