"""One question to the server and its answer: what all verbs of a client stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..exceptions import InvalidParams, LocalProtocolError, RemoteProtocolError
from ..net.retry import Effort
from ..net.timeouts import Timeout, TimeoutLike
from ..protocol.calls import Operation
from .run import Run

if TYPE_CHECKING:
    from .cache import ResultCache
    from .engine import Engine
    from .options import Options

__all__ = ["Asker", "CacheUse"]

T = TypeVar("T")
Item = TypeVar("Item")

CacheUse = Literal["use", "refresh", "off"]

# A list of more pages than this has no end: at the usual 50 a page it would hold half a million entries.
_MAX_PAGES = 10_000


class Asker:
    """Asks a server, within limits, one request or all pages of a list. Threads share it."""

    _engine: Engine
    _options: Options

    def _effort(self, timeout: TimeoutLike | Effort | None) -> Effort:
        """The limits of a verb: those that were given, the client's own, or those of the verb that it is a part of."""
        if isinstance(timeout, Effort):
            return timeout
        engine = self._engine
        limits = engine.timeout if timeout is None else Timeout.of(timeout, engine.timeout)
        return Effort(limits, engine.retry)

    def _ask(
        self,
        operation: Operation[T],
        timeout: TimeoutLike | Effort | None,
        *,
        renewable: bool = True,
        cache: CacheUse = "off",
    ) -> T:
        """Send one request and wait for its result; in a new session if need be and ``renewable``.

        Args:
            operation: The request.
            timeout: Seconds for the whole call, or a :class:`Timeout`; the client's own if None. Or an effort of which
                this is a part.
            renewable: Whether it means the same in a new session.
            cache: What to do with a result that was kept: see :class:`Verbs`; "off" also for requests whose results
                never are.
        """
        engine, effort, keep = self._engine, self._effort(timeout).begin(), None
        if cache not in ("use", "refresh", "off"):
            raise LocalProtocolError(f"cache must be 'use', 'refresh' or 'off', got {cache!r}")
        if cache != "off" and engine.ready(effort).era.caches:
            if engine.kept is None:
                from .cache import ResultCache

                engine.kept = ResultCache()
            # An auth may count, or spend something: it is asked only where there may be something to find.
            credentials = engine.credentials if len(engine.kept) else None
            if cache == "use" and credentials is not None:
                found = engine.kept.get(operation.method, operation.params, credentials)
                if found is not None:
                    return operation.parse(found)
            keep = self._keeper(operation, engine.kept, credentials)
        return Run(engine, operation, effort, repeatable=operation.read_only, renewable=renewable, keep=keep).result

    def _keeper(
        self, operation: Operation[Any], kept: ResultCache, credentials: str | None
    ) -> Callable[[Any], object]:
        """Keeps the result of an operation, if the server allows it and nothing has changed by then."""
        engine, since = self._engine, kept.mark()

        def keep(result: Any) -> None:
            if result.get("ttlMs"):
                whose = engine.credentials if credentials is None else credentials
                kept.put(operation.method, operation.params, result, whose, since=since)

        return keep

    def _forget_pages(self, method: str) -> None:
        """What is kept of a list does not hold together any more."""
        if self._engine.kept is not None:
            self._engine.kept.drop_pages(method)

    def _pages(
        self,
        build: Callable[[str | None], Operation[T]],
        timeout: Callable[[], TimeoutLike | Effort | None],
        cache: CacheUse = "off",
    ) -> Iterator[T]:
        """Walk the pages. Cursors are opaque, and only their absence means the end (MCP, utilities/pagination).

        Args:
            build: Makes the request for the page of a cursor.
            timeout: Says what the next page may take.
            cache: See :class:`Verbs`.
        """
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            operation = build(cursor)
            try:
                # "Clients MUST NOT persist cursors across sessions": a walk does not go on in a new one.
                page: Any = self._ask(operation, timeout(), renewable=cursor is None, cache=cache)
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

    def _whole(
        self,
        build: Callable[[str | None], Operation[T]],
        take: Callable[[T], Iterable[Item]],
        timeout: TimeoutLike | Effort | None,
        cache: CacheUse,
    ) -> list[Item]:
        """All of a list; once more from its beginning, and from the server, if what was kept of it led nowhere.

        "If a cursor is no longer valid, the client SHOULD discard all cached pages and restart pagination from the
        beginning." MCP 2026-07-28, server/utilities/caching, Interaction with Pagination
        """
        effort = self._effort(timeout).begin()
        while True:
            items: list[Item] = []
            pages = 0
            try:
                for page in self._pages(build, effort.part, cache):
                    pages += 1
                    items += take(page)
                return items
            except InvalidParams:
                if not pages or cache != "use":
                    raise
                cache = "refresh"
