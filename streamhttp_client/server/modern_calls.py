"""What a handler speaks with while it runs: one request of the stateless era, or one run of a task."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from .. import jsonrpc
from ..protocol.names import TASKS_EXTENSION
from .calls import Call, MissingCapability, Outlet
from .delivery import Backlog
from .inputs import Inputs
from .request_meta import Caller
from .stores.base import Store, StoreError
from .tasks import TaskNeeded, TaskRun, needs_tasks

__all__ = ["ModernCall", "TaskCall"]

# Seconds between two looks of a handler whether it is still wanted.
_LOOK_INTERVAL = 0.1

K = TypeVar("K", str, "str | None")


class ModernCall(Call):
    """One request of the stateless era, while it runs."""

    _numbers = itertools.count(1)

    def __init__(
        self,
        store: Store,
        caller: Caller,
        request: jsonrpc.Request,
        outlet: Outlet,
        backlog: Backlog,
        inputs: Inputs,
        gone: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(store, caller, request, outlet, backlog)
        self._gone = gone
        self._next_look = 0.0
        # Two clients may use the same id at the same time.
        self.key = ("", str(next(self._numbers)))
        self.inputs = inputs
        self.becomes_task = False
        #: What kept the store from doing its part.
        self.store_error: StoreError | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the client has gone, or the server stops. Cheap enough for a loop."""
        if not self._cancelled.is_set() and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_INTERVAL
            if self._is_unwanted():
                self._cancelled.set()
        return self._heard()

    def _is_unwanted(self) -> bool:
        return self._gone is not None and self._gone()

    def ask_all(self, questions: Mapping[K, tuple[str, Mapping[str, Any]]], timeout: float) -> dict[K, Any]:
        self._refuse_late()
        return self.inputs.ask(questions)

    def name_visit(self, name: str | None) -> dict[str, str]:
        return {}

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        return self.inputs.once(key, make)

    def start_task(self, *, required: bool) -> None:
        assert isinstance(self.session, Caller)
        self._refuse_late()
        if self.session.has_extension(TASKS_EXTENSION):
            self.becomes_task = True
            raise TaskNeeded
        if required:
            needs_tasks()

    def lacks(self, capability: str) -> NoReturn:
        required: dict[str, Any] = {}
        inner = required
        for part in capability.split("."):
            inner = inner.setdefault(part, {})
        raise MissingCapability(f"this needs the client's capability {capability!r}", required)


class TaskCall(ModernCall):
    """One run of a task. Its progress is told whether the client asked for it or not."""

    progress_token = "task"

    def __init__(self, store: Store, run: TaskRun, backlog: Backlog) -> None:
        super().__init__(store, run.caller, run.request, run, backlog, run.inputs)
        self._task_run = run

    def _is_unwanted(self) -> bool:
        return self._task_run.tasks.is_over(self._task_run.name, self._task_run.number)

    def start_task(self, *, required: bool) -> None:
        """It is one."""
