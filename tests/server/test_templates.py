"""URI templates: what matches, what must not, and in what time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import Server
from streamhttp_client.server.templates import MAX_URI, Template
from tests.server.kit import Direct


@pytest.mark.parametrize(
    ("template", "uri", "values"),
    [
        ("a://x", "a://x", {}),
        ("a://x", "a://xy", None),
        ("a://{x}", "a://1", {"x": "1"}),
        ("a://{x}", "a://", None),
        ("a://{x}", "b://1", None),
        ("a://{x}/end", "a://1/end", {"x": "1"}),
        ("a://{x}/end", "a://1/2/end", None),
        ("a://{x}-{y}", "a://1-2-3", {"x": "1", "y": "2-3"}),
        ("a://{x}-{y}", "a://--1", {"x": "-", "y": "1"}),
        ("a://{x}-{y}", "a://1-", None),
        ("a://{x}/{y}/z", "a://1/2/z", {"x": "1", "y": "2"}),
        ("a://{x}", "a://caf%C3%A9", {"x": "café"}),
        ("a://{+p}", "a://1/2%2F../3", {"p": "1/2/../3"}),
        ("a://{+p}.{ext}", "a://d.x/f.tar.gz", {"p": "d.x/f.tar", "ext": "gz"}),
        ("a://{h}/{+p}/raw", "a://h/1/raw/2/raw", {"h": "h", "p": "1/raw/2"}),
        ("a://{h}/{+p}/{q}/{r}", "a://h/1/2/3/4", {"h": "h", "p": "1/2", "q": "3", "r": "4"}),
        ("a://{h}/{+p}/{q}/{r}", "a://h/1/2", None),
    ],
)
def test_match(template: str, uri: str, values: dict[str, str] | None) -> None:
    assert Template(template).match(uri) == values


@pytest.mark.parametrize("value", ["..%2F..%2Fetc%2Fpasswd", "..", ".", "%2e%2E", "a%5Cb", "a%00", "a/b", "%2F"])
def test_values_stay_within_their_segment(value: str) -> None:
    """A handler may join them to the name of a folder."""
    assert Template("files://root/{name}").match(f"files://root/{value}") is None
    server = Server("test", "1")
    server.resource("files://root/{name}")(lambda name: name)
    error = Direct(server.wsgi()).initialize().answer("resources/read", {"uri": f"files://root/{value}"})
    assert error["code"] == -32002


@pytest.mark.parametrize("template", ["a://{x}{y}", "a://{x}/{x}", "a://{x", "a://{+x}/{+y}", "a://{x*}"])
def test_templates_that_cannot_be_read_back(template: str) -> None:
    with pytest.raises(LocalProtocolError):
        Template(template)


texts = st.text("a-/", max_size=12)


@given(st.lists(st.text("-/", min_size=1, max_size=2), min_size=1, max_size=3), texts)
def test_all_that_a_regular_expression_would_find(between: list[str], uri: str) -> None:
    """Trying one place for each variable misses nothing."""
    names = [f"v{index}" for index in range(len(between) + 1)]
    template = "".join(f"{{{name}}}{text}" for name, text in zip(names, [*between, ""], strict=True))
    pattern = "[^/]+" + "".join(re.escape(text) + "[^/]+" for text in between)
    found = Template(template).match(uri)
    assert (found is not None) == (re.fullmatch(pattern, uri) is not None)
    if found is not None:
        assert template.format(**found) == uri


def test_time_is_linear() -> None:
    """Ten times the length takes about ten times as long, not a hundred or a thousand times."""
    template = Template("doc://{a}-{b}-{c}")

    def seconds(length: int) -> float:
        uri = "doc://" + "-" * length + "/"
        best = 1e9
        for _ in range(5):
            begin = time.perf_counter()
            assert template.match(uri) is None
            best = min(best, time.perf_counter() - begin)
        return best

    assert seconds(1_000_000) < 50 * seconds(100_000)


def test_long_uris_are_refused() -> None:
    server = Server("test", "1")
    server.resource("a://{x}")(lambda x: x)
    direct = Direct(server.wsgi()).initialize()
    for method in ("resources/read", "resources/subscribe", "resources/unsubscribe"):
        assert direct.answer(method, {"uri": "a://" + "x" * MAX_URI})["code"] == -32602
