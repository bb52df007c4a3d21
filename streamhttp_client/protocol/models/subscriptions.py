"""Streams of what changes at the server, and what one wants to hear on them (since 2026-07-28).

See basic/patterns/subscriptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...jsonrpc import RequestId
from ..names import SUBSCRIPTION_ID
from .base import Model, Result

__all__ = ["SUBSCRIPTION_ID", "SubscriptionFilter", "SubscriptionsListenResult", "subscription_id"]


def subscription_id(params: Mapping[str, Any] | None) -> RequestId | None:
    """Return the id in the parameters of a notification, or in a result; None if there is none that is one.

    The kind counts: ``1`` and ``"1"`` are two subscriptions.
    """
    meta = params.get("_meta") if params is not None else None
    value = meta.get(SUBSCRIPTION_ID) if isinstance(meta, Mapping) else None
    return value if isinstance(value, (str, int)) and not isinstance(value, bool) else None


class SubscriptionFilter(Model):
    """What to be told of.

    Attributes:
        tools_list_changed: The list of tools has changed.
        prompts_list_changed: The list of prompts has changed.
        resources_list_changed: The list of resources has changed.
        resource_subscriptions: URIs of resources that may change.
        task_ids: Tasks that may change (tasks extension).
    """

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: Sequence[str] = ()
    task_ids: Sequence[str] = ()

    def missing_from(self, honoured: SubscriptionFilter) -> SubscriptionFilter:
        """Return what of this is not in ``honoured``: what was asked for in vain. Members unknown here are not
        looked at.
        """
        return SubscriptionFilter(
            tools_list_changed=self.tools_list_changed and not honoured.tools_list_changed,
            prompts_list_changed=self.prompts_list_changed and not honoured.prompts_list_changed,
            resources_list_changed=self.resources_list_changed and not honoured.resources_list_changed,
            resource_subscriptions=_without(self.resource_subscriptions, honoured.resource_subscriptions),
            task_ids=_without(self.task_ids, honoured.task_ids),
        )

    def __bool__(self) -> bool:
        """Whether anything at all is wanted."""
        return any(bool(value) for value in self.to_wire().values())


class SubscriptionsListenResult(Result):
    """The server has ended the stream on purpose; nothing was lost."""

    @property
    def subscription_id(self) -> RequestId | None:
        """The id of the request that opened the stream."""
        return subscription_id({"_meta": self.meta})


def _without(these: Sequence[str], those: Sequence[str]) -> tuple[str, ...]:
    found = frozenset(those)
    return tuple(one for one in these if one not in found)
