"""What is known of the server's tools: hints, schemas, and which arguments go into headers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocol.mirrored import ParamHeaders
    from ..protocol.models.tools import Tool

__all__ = ["KnownTools"]

logger = logging.getLogger("streamhttp_client")


class KnownTools:
    """The tools that were listed, by name. Threads share it: each of its operations is one of a dict."""

    def __init__(self) -> None:
        self._tools: dict[str, tuple[Tool, ParamHeaders | None]] = {}
        self.listed_for: object = None  # for which link they were last listed because somebody needed them
        self.listed: object = None  # another object after each whole list; None before, and when they may be others

    def get(self, name: str) -> Tool | None:
        """The tool of that name, if it was listed."""
        known = self._tools.get(name)
        return None if known is None else known[0]

    def remember(self, tools: Iterable[Tool], *, mirrored: bool) -> list[Tool]:
        """Keep what is known of them, and give those that can be used.

        Args:
            tools: As the server lists them.
            mirrored: Whether the era repeats arguments in headers. Then a tool whose annotations break the rules is
                left out, with a line in the log: "clients MUST exclude the invalid tool from the result of tools/list"
                (MCP 2026-07-28, basic/transports/streamable-http, Schema Extension).
        """
        usable = []
        for tool in tools:
            headers = None
            if mirrored:
                from ..protocol.mirrored import ParamHeaders

                try:
                    headers = ParamHeaders.from_schema(tool.input_schema)
                except ValueError as error:
                    logger.warning("left out tool %r, whose input schema breaks the rules: %s", tool.name, error)
                    self._tools.pop(tool.name, None)
                    continue
            self._tools[tool.name] = tool, headers
            usable.append(tool)
        return usable

    def keep_only(self, names: Set[str]) -> None:
        """These are all that there are: the list was walked to its end."""
        for name in list(self._tools):
            if name not in names:
                self._tools.pop(name, None)
        self.listed = object()

    def forget(self) -> None:
        """They may be others now."""
        self._tools.clear()
        self.listed_for = self.listed = None

    def headers(self, name: str, arguments: Mapping[str, Any] | None) -> dict[str, str]:
        """The arguments that go into headers too; none of a tool that was not listed."""
        known = self._tools.get(name)
        if known is None or not known[1]:
            return {}
        return known[1].headers(arguments)

    def may_repeat(self, name: str) -> bool:
        """Whether the tool says of itself that calling it twice is as good as once."""
        tool = self.get(name)
        hints = None if tool is None else tool.annotations
        return hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
