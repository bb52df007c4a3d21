"""Values of handlers as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from streamhttp_client.protocol.models.content import TextContent
from streamhttp_client.server import Blob
from streamhttp_client.server.results import plain, tool_result


@dataclass
class Point:
    x: int
    tags: Any = ()


class Odd:
    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (1.5, 1.5),
        ({1: (2, {"a": None})}, {"1": [2, {"a": None}]}),
        (Point(1, [Point(2)]), {"x": 1, "tags": [{"x": 2, "tags": []}]}),
        (date(2025, 11, 25), "2025-11-25"),
        (b"\0", "AA=="),
        (Odd(), "odd"),
        (TextContent("a"), {"type": "text", "text": "a"}),
        (Blob(b"\0", "image/png"), {"type": "image", "data": "AA==", "mimeType": "image/png"}),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value))


def test_struct_of_msgspec() -> None:
    msgspec = pytest.importorskip("msgspec")
    kind = msgspec.defstruct("Kind", [("when", date)])
    assert plain([kind(date(2025, 1, 2))]) == [{"when": "2025-01-02"}]
    assert tool_result(kind(date(2025, 1, 2)), structured=False)["structuredContent"] == {"when": "2025-01-02"}
