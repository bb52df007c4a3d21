"""The verbs of MCP, with the names that the official Python SDK uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..exceptions import InvalidParams, RemoteProtocolError
from ..net.timeouts import TimeoutLike
from ..protocol import calls
from ..protocol.calls import Operation

if TYPE_CHECKING:
    from ..protocol.models.completion import CompleteResult, PromptReference, ResourceTemplateReference
    from ..protocol.models.prompts import GetPromptResult, Prompt
    from ..protocol.models.resources import ReadResourceResult, Resource, ResourceTemplate
    from ..protocol.models.tools import Tool

__all__ = ["CacheUse", "Verbs"]

T = TypeVar("T")

CacheUse = Literal["use", "refresh", "off"]

# A list of more pages than this has no end: at the usual 50 a page it would hold half a million entries.
_MAX_PAGES = 10_000


class Verbs(ABC):
    """What a client can ask a server, apart from calling tools. Every method blocks until the answer is here.

    ``timeout`` is seconds for the whole call or a :class:`Timeout`; the client's own if None. All methods raise what
    :class:`Client` says, and :class:`CapabilityError` if the server did not declare what they need. Threads may call
    them at the same time.

    ``cache`` is for the verbs whose results a server may allow to be kept (since 2026-07-28): ``"use"`` takes one that
    is still fresh, ``"refresh"`` asks the server and keeps the answer, ``"off"`` asks and keeps nothing. What is kept
    is in memory, for this client's credentials alone, and is dropped when the server tells of a change.
    """

    @abstractmethod
    def _ask(
        self,
        operation: Operation[T],
        timeout: TimeoutLike | None,
        *,
        renewable: bool = True,
        cache: CacheUse = "off",
    ) -> T:
        """Send one request and wait for its result; in a new session if need be and ``renewable``.

        Args:
            operation: The request.
            timeout: See the class.
            renewable: Whether it means the same in a new session.
            cache: See the class; "off" also for requests whose results are never kept.
        """

    @abstractmethod
    def _forget_pages(self, method: str) -> None:
        """What is kept of a list does not hold together any more."""

    def _pages(
        self, build: Callable[[str | None], Operation[T]], timeout: TimeoutLike | None, cache: CacheUse = "off"
    ) -> Iterator[T]:
        """Walk the pages. Cursors are opaque, and only their absence means the end (MCP, utilities/pagination)."""
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            operation = build(cursor)
            try:
                # "Clients MUST NOT persist cursors across sessions": a walk does not go on in a new one.
                page: Any = self._ask(operation, timeout, renewable=cursor is None, cache=cache)
            except InvalidParams:
                if cursor is not None:  # of a list that has changed meanwhile
                    self._forget_pages(operation.method)
                raise
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return
            if cursor in seen:
                raise RemoteProtocolError("the server gave the same page cursor twice, so its list would never end")
            seen.add(cursor)
        raise RemoteProtocolError(f"the list has more than {_MAX_PAGES} pages")

    def _listed(self, walk: Callable[[CacheUse], Iterator[T]], cache: CacheUse) -> list[T]:
        """All of a list; from its beginning, and from the server, if what was kept of it led nowhere."""
        try:
            return list(walk(cache))
        except InvalidParams:
            if cache != "use":
                raise
            return list(walk("refresh"))

    @abstractmethod
    def _remember_tools(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        """Keep what is known of tools now: hints and schemas. Gives those that can be used."""

    # -- tools

    def iter_tools(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> Iterator[Tool]:
        """Walk the server's tools, asking for a page when the last one is used up. ``timeout`` is for each page."""
        for page in self._pages(calls.list_tools, timeout, cache):
            yield from self._remember_tools(page.tools)

    def list_tools(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> list[Tool]:
        """Return all tools of the server, over all pages."""
        return self._listed(lambda cache: self.iter_tools(timeout=timeout, cache=cache), cache)

    # -- resources

    def iter_resources(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> Iterator[Resource]:
        """Walk the server's resources page by page."""
        for page in self._pages(calls.list_resources, timeout, cache):
            yield from page.resources

    def list_resources(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> list[Resource]:
        """Return all resources that the server lists, over all pages."""
        return self._listed(lambda cache: self.iter_resources(timeout=timeout, cache=cache), cache)

    def iter_resource_templates(
        self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use"
    ) -> Iterator[ResourceTemplate]:
        """Walk the server's resource templates page by page."""
        for page in self._pages(calls.list_resource_templates, timeout, cache):
            yield from page.resource_templates

    def list_resource_templates(
        self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use"
    ) -> list[ResourceTemplate]:
        """Return all resource templates, over all pages."""
        return self._listed(lambda cache: self.iter_resource_templates(timeout=timeout, cache=cache), cache)

    def read_resource(
        self,
        uri: str,
        *,
        timeout: TimeoutLike | None = None,
        meta: Mapping[str, Any] | None = None,
        cache: CacheUse = "use",
    ) -> ReadResourceResult:
        """Read a resource.

        Raises:
            ResourceNotFound: There is none with this URI (-32002); since 2026-07-28 it is an :class:`InvalidParams`.
        """
        return self._ask(calls.read_resource(uri, meta=meta), timeout, cache=cache)

    def subscribe_resource(self, uri: str, *, timeout: TimeoutLike | None = None) -> None:
        """Ask to be told when a resource changes; the news come through :meth:`listen`."""
        self._ask(calls.subscribe_resource(uri), timeout)

    def unsubscribe_resource(self, uri: str, *, timeout: TimeoutLike | None = None) -> None:
        """Ask to be told no more."""
        self._ask(calls.unsubscribe_resource(uri), timeout)

    # -- prompts and completion

    def iter_prompts(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> Iterator[Prompt]:
        """Walk the server's prompts page by page."""
        for page in self._pages(calls.list_prompts, timeout, cache):
            yield from page.prompts

    def list_prompts(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> list[Prompt]:
        """Return all prompts, over all pages."""
        return self._listed(lambda cache: self.iter_prompts(timeout=timeout, cache=cache), cache)

    def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout: TimeoutLike | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> GetPromptResult:
        """Get a prompt with its arguments, all of them strings, filled in."""
        return self._ask(calls.get_prompt(name, arguments, meta=meta), timeout)

    def complete(
        self,
        ref: PromptReference | ResourceTemplateReference | Mapping[str, Any],
        argument: Mapping[str, str],
        context: Mapping[str, str] | None = None,
        *,
        timeout: TimeoutLike | None = None,
    ) -> CompleteResult:
        """Ask what an argument of a prompt or resource template could be.

        Args:
            ref: The prompt or template: a model, or ``{"type": "ref/prompt", "name": …}``.
            argument: ``{"name": …, "value": what was typed so far}``.
            context: Arguments that were chosen before, by name.
            timeout: See the class.
        """
        return self._ask(calls.complete(ref, argument, context), timeout)

    # -- the rest

    def send_ping(self, *, timeout: TimeoutLike | None = None) -> None:
        """Return if the server answers."""
        self._ask(calls.ping(), timeout)

    def set_logging_level(self, level: str, *, timeout: TimeoutLike | None = None) -> None:
        """Ask for log messages of this level and above: one of the eight of RFC 5424, ``debug`` to ``emergency``."""
        self._ask(calls.set_logging_level(level), timeout)
