"""The other verbs of MCP: resources, prompts, completion, and what a server is to know of our wishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import MethodNotFound
from ..net.timeouts import TimeoutLike
from ..protocol import calls
from ..protocol.calls import Operation
from .asking import Asker, CacheUse

if TYPE_CHECKING:
    from ..protocol.models.completion import CompleteResult, PromptReference, ResourceTemplateReference
    from ..protocol.models.prompts import GetPromptResult, Prompt
    from ..protocol.models.resources import ReadResourceResult, Resource, ResourceTemplate

__all__ = ["Verbs"]


class Verbs(Asker):
    """What a client can ask a server, apart from calling tools. Every method blocks until the answer is here.

    ``timeout`` is seconds for the whole call or a :class:`Timeout`; the client's own if None. For ``list_*`` it is for
    all pages, for ``iter_*`` for each. All methods raise what :class:`Client` says, and :class:`CapabilityError` if the
    server did not declare what they need. Threads may call them at the same time.

    ``cache`` is for the verbs whose results a server may allow to be kept (since 2026-07-28): ``"use"`` takes one that
    is still fresh, ``"refresh"`` asks the server and keeps the answer, ``"off"`` asks and keeps nothing. What is kept
    is in memory, for this client's credentials alone, and is dropped when the server tells of a change, which it does
    only while :meth:`listen` is open.
    """

    # -- resources

    def iter_resources(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> Iterator[Resource]:
        """Walk the server's resources page by page."""
        for page in self._pages(calls.list_resources, lambda: timeout, cache):
            yield from page.resources

    def list_resources(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> list[Resource]:
        """Return all resources that the server lists, over all pages."""
        return self._whole(calls.list_resources, lambda page: page.resources, timeout, cache)

    def iter_resource_templates(
        self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use"
    ) -> Iterator[ResourceTemplate]:
        """Walk the server's resource templates page by page."""
        for page in self._pages(calls.list_resource_templates, lambda: timeout, cache):
            yield from page.resource_templates

    def list_resource_templates(
        self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use"
    ) -> list[ResourceTemplate]:
        """Return all resource templates, over all pages."""
        return self._whole(calls.list_resource_templates, lambda page: page.resource_templates, timeout, cache)

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
            InputRequired, MissingCapability: As for :meth:`Client.call_tool`.
        """
        return self._ask(calls.read_resource(uri, meta=meta), timeout, cache=cache)

    def subscribe_resource(self, uri: str, *, timeout: TimeoutLike | None = None) -> None:
        """Ask to be told when a resource changes; the news come through :meth:`listen`."""
        engine = self._engine
        operation, known = calls.subscribe_resource(uri), uri in engine.subscriptions
        engine.subscriptions.add(uri)  # before it is asked: a session that another thread begins meanwhile has it too
        try:
            self._wish(operation, timeout)
        except BaseException:
            if not known:
                engine.subscriptions.discard(uri)
            raise
        if not known:
            engine.listening.listen_anew()

    def unsubscribe_resource(self, uri: str, *, timeout: TimeoutLike | None = None) -> None:
        """Ask to be told no more."""
        engine = self._engine
        operation, known = calls.unsubscribe_resource(uri), uri in engine.subscriptions
        engine.subscriptions.discard(uri)
        try:
            self._wish(operation, timeout)
        except BaseException:
            if known:
                engine.subscriptions.add(uri)
            raise
        if known:
            engine.listening.listen_anew()

    # -- prompts and completion

    def iter_prompts(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> Iterator[Prompt]:
        """Walk the server's prompts page by page."""
        for page in self._pages(calls.list_prompts, lambda: timeout, cache):
            yield from page.prompts

    def list_prompts(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> list[Prompt]:
        """Return all prompts, over all pages."""
        return self._whole(calls.list_prompts, lambda page: page.prompts, timeout, cache)

    def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout: TimeoutLike | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> GetPromptResult:
        """Get a prompt with its arguments, all of them strings, filled in.

        Raises:
            InputRequired, MissingCapability: As for :meth:`Client.call_tool`.
        """
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
        effort = self._effort(timeout).begin()
        era = self._engine.ready(effort).era
        try:
            self._ask(era.greeting(), effort)
        except MethodNotFound:
            now = self._engine.ready(effort).era
            if now.name != era.name:
                self._ask(now.greeting(), effort)  # the server turned out to be one of another era
            elif era.introduces_itself:
                raise
            # Else it does not know what it must know; but it is there.

    def set_logging_level(self, level: str, *, timeout: TimeoutLike | None = None) -> None:
        """Ask for log messages of this level and above: one of the eight of RFC 5424, ``debug`` to ``emergency``.

        Since 2026-07-28 each request says it. There, without this, only calls with an ``on_log``, and those that are
        iterated, ask for any: ``"info"`` and above.
        """
        operation, engine = calls.set_logging_level(level), self._engine
        before, engine.log_level = engine.log_level, level
        try:
            self._wish(operation, timeout)
        except BaseException:
            engine.log_level = before
            raise

    def _wish(self, operation: Operation[None], timeout: TimeoutLike | None) -> None:
        """Tell the server what is wanted from now on; or find out whether it can do it, if each request says it."""
        effort = self._effort(timeout).begin()
        link = self._engine.ready(effort)
        if link.era.keeps_wishes:
            self._ask(operation, effort)
        else:
            self._engine.require(link, operation, effort)
