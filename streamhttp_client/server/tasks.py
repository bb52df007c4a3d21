"""The extension ``io.modelcontextprotocol/tasks``: a call whose result is collected later (SEP-2663).

A task is a session of the store that is never spoken in, so any process can say how it is, take answers to what it
asks, and cancel it. Its handler runs on a handler's thread, in *runs*: a question without an answer ends the run, as
in :mod:`.inputs`, and the answers begin the next one, in the process that they reached.

Who decides when two things happen at once is a log: each run has one, and who ends it first says what came of the run,
its handler or a cancellation. It also has a will, so a run whose process has died is known to have failed. A second
log decides the same way what follows a question. The fields of the session are what clients are told; if a process
dies before it has written them, the entry in the log still tells.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, NoReturn

from .. import jsonrpc
from ..exceptions import LocalProtocolError, RPCError
from ..protocol.names import TASKS_EXTENSION
from ..protocol.versions import get_revision
from .calls import PROGRESS, Call, MissingCapability
from .delivery import Backlog
from .inputs import MAX_KEPT, Inputs, SchemaError, read_answer
from .request_meta import Caller
from .sessions import new_token
from .stores.base import Store, StoreError
from .subscriptions import notify

__all__ = ["TaskNeeded", "TaskRun", "Tasks", "needs_tasks"]

logger = logging.getLogger("streamhttp_client.server")

# Milliseconds between two looks of a client.
_POLL_INTERVAL = 1000
# Characters of an id that is looked up; real ones have 33.
_MAX_NAME = 100
# Seconds between two status messages of one task, since each is a write.
_MESSAGE_INTERVAL = 1.0

# Seconds that a process may take between its two writes at the end of a run.
_UNSETTLED = 10.0

# Of a field that names a subscription; and how many there may be, since the store writes all of them again each time.
_TOLD = "told:"
_MAX_LISTENERS = 16

Fields = Mapping[str, Any]


class TaskNeeded(BaseException):
    """A handler wants to go on as a task. Never leaves the server wing; no ``Exception``, as for ``InputNeeded``."""


def needs_tasks() -> NoReturn:
    """Say that a client must know tasks.

    Raises:
        MissingCapability: Always.
    """
    required: dict[str, Any] = {"extensions": {TASKS_EXTENSION: {}}}
    raise MissingCapability(f"this needs the client's extension {TASKS_EXTENSION!r}", required)


class Tasks:
    """The tasks of one endpoint. Any thread may call it.

    Args:
        start: Runs the handler of a task on a thread; False if all are busy.
        ttl: Seconds for which a task can be asked for after it last changed.
        clock: Seconds since the epoch, since processes must agree on it; for tests.
    """

    def __init__(
        self,
        store: Store,
        backlog: Backlog,
        start: Callable[[TaskRun], bool],
        *,
        ttl: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._backlog = backlog
        self._start = start
        # No longer than the store keeps a session that nobody uses: what is promised must be kept.
        self._ttl = min(ttl, store.session_ttl)
        self._clock = clock

    # --- what clients do

    def create(self, caller: Caller, request: jsonrpc.Request, inputs: Inputs) -> dict[str, Any]:
        """Begin a task for a call; return the result that says so.

        Raises:
            StoreFull: There are too many.
        """
        params = {key: value for key, value in (request.params or {}).items() if key in ("name", "arguments", "_meta")}
        now = self._clock()
        fields: dict[str, Any] = {
            "task": {
                "created": now,
                "params": params,
                "revision": caller.revision.name,
                "capabilities": caller.client_capabilities,
                "info": caller.client_info,
            },
            "principal": caller.principal,
            "changed": now,
            "kept": inputs.kept,
            **{f"answer:{key}": answer for key, answer in inputs.answers.items()},
        }
        # "Servers MUST generate them with sufficient entropy that a third party cannot enumerate or guess them"
        name = "t" + new_token()
        self._store.create_session(name, fields)
        try:
            self._run(name, fields, 1)
        except BaseException:
            # Its client is told that there is none.
            self._backlog.attempt(lambda: self._store.delete_session(name), "the end of a task")
            raise
        # The task is in the store: "A server MUST NOT return CreateTaskResult until the task is durably created".
        return {"resultType": "task", **self._basics(name, fields, "working")}

    def get(self, call: Call) -> dict[str, Any]:
        """Answer ``tasks/get``."""
        name, fields = self._find(call)
        outcome = self._outcome(name, fields)
        if self._clock() > outcome.get("changed", math.inf) + _UNSETTLED:
            # The process that ended the run has died before it wrote the fields, and the log goes before the task.
            self._settle(name, fields["run"], outcome)
        return self._state(name, fields, outcome)

    def update(self, call: Call) -> dict[str, Any]:
        """Answer ``tasks/update``: take answers, and go on once all are there.

        Raises:
            RPCError: One of them is of no use; then none was taken. Unlike a request with rounds, a task has no answer
                in which it could ask once more, and a client asks its user only once for each key.
        """
        name, fields = self._find(call)
        answers = call.params.get("inputResponses")
        if not isinstance(answers, dict):
            raise RPCError("'inputResponses' must be an object", code=jsonrpc.INVALID_PARAMS)
        outcome = self._outcome(name, fields)
        asked = outcome.get("asked", {})
        # "A server SHOULD ignore any inputResponses responses mapped to a key that is not currently outstanding"
        found = {
            f"answer:{key}": _read_answer(key, asked[key], answer)
            for key, answer in answers.items()
            if key in asked and f"answer:{key}" not in fields
        }
        if found:
            kept = {key: value for key, value in fields.items() if key.startswith("answer:")}
            if len(json.dumps({**kept, **found})) > MAX_KEPT:
                problem = f"the answers to one task may have {MAX_KEPT} bytes together"
                raise RPCError(problem, code=jsonrpc.INVALID_PARAMS)
            self._store.update_session(name, {**found, "changed": self._clock()})
        if asked:
            # Also without anything new: perhaps the store failed just here, the last time.
            self._go_on(name)
        return {}

    def cancel(self, call: Call) -> dict[str, Any]:
        """Answer ``tasks/cancel``. What has ended stays as it is."""
        name, fields = self._find(call)
        outcome = self._outcome(name, fields)
        final = {"final": {"status": "cancelled"}, "changed": self._clock()}
        if not outcome and self._decide(name, f"run{fields['run']}", final):
            self._settle(name, fields["run"], final)
        elif "asked" in outcome and self._decide(name, f"go{fields['run']}", final):
            self._settle(name, fields["run"], final)
        return {}

    def can_be_followed(self, name: str, caller: Caller) -> bool:
        """Whether there is such a task, it is the caller's, and few enough listen to it."""
        fields = self._store.get_session(name)
        if fields is None or "task" not in fields or fields.get("principal") != caller.principal:
            return False
        told = _told(fields)
        # A process that died has left some; those of others are there for as long as their streams.
        gone = {_TOLD + one: None for one in told if self._store.get_session(one) is None}
        if gone:
            self._store.update_session(name, gone)
        return len(told) - len(gone) < _MAX_LISTENERS

    def follow(self, name: str, subscription: str, request_id: jsonrpc.RequestId) -> None:
        """Tell a subscription of a task's changes, and how it is now, since it may have none any more."""
        self._store.update_session(name, {_TOLD + subscription: request_id})
        fields = self._store.get_session(name)
        if fields is not None:
            notify(self._store, subscription, request_id, "notifications/tasks", self.state(name, fields))

    def leave(self, name: str, subscription: str) -> None:
        """A subscription has ended."""
        self._store.update_session(name, {_TOLD + subscription: None})

    # --- what a task is

    def state(self, name: str, fields: Fields) -> dict[str, Any]:
        """The task as ``tasks/get`` says it."""
        return self._state(name, fields, self._outcome(name, fields))

    def _state(self, name: str, fields: Fields, outcome: Mapping[str, Any]) -> dict[str, Any]:
        fields = {**fields, "changed": outcome.get("changed", fields["changed"])}
        if "final" in outcome:
            return {**self._basics(name, fields, outcome["final"]["status"]), **outcome["final"]}
        asked = {key: value for key, value in outcome.get("asked", {}).items() if f"answer:{key}" not in fields}
        if asked:
            return {**self._basics(name, fields, "input_required"), "inputRequests": asked}
        return self._basics(name, fields, "working")

    def _basics(self, name: str, fields: Fields, status: str) -> dict[str, Any]:
        created, changed = fields["task"]["created"], fields["changed"]
        found = {
            "taskId": name,
            "status": status,
            "createdAt": _iso(created),
            "lastUpdatedAt": _iso(changed),
            # It grows with each change, since it counts from the creation.
            "ttlMs": int((changed - created + self._ttl) * 1000),
            "pollIntervalMs": _POLL_INTERVAL,
        }
        if status == "working" and "message" in fields:
            found["statusMessage"] = fields["message"]
        return found

    def _find(self, call: Call) -> tuple[str, dict[str, Any]]:
        caller, name = call.session, call.params.get("taskId")
        if not isinstance(caller, Caller) or not caller.has_extension(TASKS_EXTENSION):
            needs_tasks()
        fields = self._store.get_session(name) if isinstance(name, str) and 0 < len(name) <= _MAX_NAME else None
        # That of somebody else is answered as none at all, so that nobody can find out that it exists.
        if fields is None or "task" not in fields or fields.get("principal") != caller.principal:
            raise RPCError("the task is not known, or has expired", code=jsonrpc.INVALID_PARAMS)
        assert isinstance(name, str)
        if self._clock() > fields["changed"] + self._ttl and self._outcome(name, fields):
            self._store.delete_session(name)
            raise RPCError("the task has expired", code=jsonrpc.INVALID_PARAMS)
        return name, fields

    def _outcome(self, name: str, fields: Fields) -> dict[str, Any]:
        """What came of the current run: nothing yet, ``asked`` and ``kept``, or ``final``; and ``changed``, when, if
        the fields do not say it yet.
        """
        if "final" in fields:
            return {"final": fields["final"]}
        if fields.get("settled") == fields["run"]:
            return {"asked": fields["asked"], "kept": fields["kept"]}
        page = self._store.read(name, f"run{fields['run']}", 0)
        if page.entries:
            found: dict[str, Any] = json.loads(page.entries[0][1])
            return found
        if page.state == "gone":
            return {"final": _failed(jsonrpc.INTERNAL_ERROR, "the process that ran this task has died")}
        return {}

    # --- runs

    def _run(self, name: str, fields: dict[str, Any], number: int) -> None:
        """Begin a run in this process."""
        will = {"final": _failed(jsonrpc.INTERNAL_ERROR, "the process that ran this task has died")}
        self._store.create_log(name, f"run{number}", will=json.dumps(will).encode())
        fields["run"] = number
        self._store.update_session(name, {"run": number})
        if not self._start(TaskRun(self, name, fields)):
            self.end(name, number, {"final": _failed(jsonrpc.INTERNAL_ERROR, "the server is busy")})

    def _go_on(self, name: str) -> None:
        """Begin the next run if all questions of the last one are answered."""
        fields = self._store.get_session(name)
        if fields is None:
            return
        outcome = self._outcome(name, fields)
        asked = outcome.get("asked", {})
        if not asked or any(f"answer:{key}" not in fields for key in asked):
            return
        fields["kept"] = outcome["kept"]
        number = fields["run"]
        # Two that bring the last answers at the same time both come here; the entry tells whose it is.
        own = {"by": new_token()}

        def go_on() -> None:
            if self._decide(name, f"go{number}", own):
                # Nobody else will do it; so if the store is away now, it is done later.
                self._backlog.attempt(lambda: self._run(name, fields, number + 1), "the next run of a task")

        try:
            go_on()
        except StoreError:
            # The client may come again; but perhaps this has decided, and only the answer of the store was lost.
            self._backlog.add(go_on)
            raise

    def _decide(self, name: str, log: str, entry: Mapping[str, Any]) -> bool:
        """Whether this is the first to end a log, or has been: the answer of the store may have been lost. One that is
        gone stops nobody: its process has died long ago.
        """
        data = json.dumps(entry).encode()
        if self._store.append(name, log, data, end=True):
            return True
        page = self._store.read(name, log, 0)
        return page.state == "gone" or page.entries[:1] == [(1, data)]

    def end(self, name: str, number: int, outcome: Mapping[str, Any]) -> None:
        """A run has ended in this process; if the store is away, that is written later."""
        outcome = {**outcome, "changed": self._clock()}
        self._backlog.attempt(lambda: self._end(name, number, outcome), "the outcome of a task")

    def _end(self, name: str, number: int, outcome: Mapping[str, Any]) -> None:
        if "asked" in outcome:
            self._store.create_log(name, f"go{number}")
        entry = json.dumps(outcome).encode()
        if not self._store.append(name, f"run{number}", entry, end=True):
            # It has ended: by somebody else, or here, and the store failed before the rest was done.
            said = self._store.read(name, f"run{number}", 0).entries
            if not said or said[0][1] != entry:
                return
        self._settle(name, number, outcome)

    def _settle(self, name: str, number: int, outcome: Mapping[str, Any]) -> None:
        self._store.update_session(name, {**outcome, "settled": number, "message": None})
        self.tell(name)

    def tell(self, name: str) -> None:
        """Tell those who listen how the task is now."""
        fields = self._store.get_session(name)
        if fields is None:
            return
        told = _told(fields)
        state = self.state(name, fields) if told else {}
        gone = {
            _TOLD + subscription: None
            for subscription, request_id in told.items()
            if not notify(self._store, subscription, request_id, "notifications/tasks", state)
        }
        if gone:  # those who do not listen any more
            self._store.update_session(name, gone)

    def note(self, name: str, message: str) -> None:
        """Keep what a handler says of its progress."""
        try:
            self._store.update_session(name, {"message": message[:500], "changed": self._clock()})
        except StoreError:
            pass  # the next one replaces it

    def is_over(self, name: str, number: int) -> bool:
        """Whether somebody has ended a run that still goes on here: the task was cancelled, or is gone."""
        try:
            return self._store.read(name, f"run{number}", 0).state != "open"
        except StoreError:
            return False


class TaskRun:
    """One run of the handler of a task: the outlet of its call, and what the call is made of."""

    interactive = False

    def __init__(self, tasks: Tasks, name: str, fields: Fields) -> None:
        task = fields["task"]
        self.tasks = tasks
        self.name = name
        self.number: int = fields["run"]
        revision = get_revision(task["revision"])
        self.caller = Caller(revision, task["capabilities"], task["info"], "", fields.get("principal"))
        self.request = jsonrpc.Request(name, "tools/call", task["params"])
        answers = {key.removeprefix("answer:"): value for key, value in fields.items() if key.startswith("answer:")}
        self.inputs = Inputs(answers, fields["kept"])
        self._next_note = 0.0

    def send(self, message: jsonrpc.Notification | jsonrpc.Request) -> None:
        """Of what a handler says, its progress becomes the status message; "notifications/progress and
        notifications/message … are not supported on tasks".
        """
        if not isinstance(message, jsonrpc.Notification) or message.method != PROGRESS:
            return
        now = time.monotonic()
        if now >= self._next_note:
            self._next_note = now + _MESSAGE_INTERVAL
            params = message.params or {}
            of = f" of {params['total']:g}" if "total" in params else ""
            self.tasks.note(self.name, params.get("message") or f"{params['progress']:g}{of}")

    def finish(self, response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> None:
        if self.inputs.pending:
            outcome: dict[str, Any] = {"asked": self.inputs.pending, "kept": self.inputs.kept}
        elif isinstance(response, jsonrpc.ErrorResponse):
            outcome = {"final": _failed(response.code, response.message, response.data)}
        elif response is not None:
            outcome = {"final": {"status": "completed", "result": response.result}}
        else:
            return
        try:
            jsonrpc.dump(jsonrpc.Response(self.name, outcome))
        except LocalProtocolError:
            if "asked" not in outcome:
                raise  # the result has no JSON form, which is said in its place
            # What was kept between the runs has none, or a question: no run can follow.
            logger.exception("a task cannot go on")
            outcome = {"final": _failed(jsonrpc.INTERNAL_ERROR, "the server failed to handle the request")}
        self.tasks.end(self.name, self.number, outcome)

    def pause(self, retry_ms: int | None) -> None:
        """There is no connection."""


def _told(fields: Fields) -> dict[str, jsonrpc.RequestId]:
    """The subscriptions that are told of a task, with the ids that their clients gave them."""
    return {key.removeprefix(_TOLD): value for key, value in fields.items() if key.startswith(_TOLD)}


def _read_answer(key: str, question: Mapping[str, Any], answer: Any) -> Mapping[str, Any]:
    try:
        return read_answer(key, question["method"], question["params"], answer)
    except SchemaError as error:
        problem = f"'inputResponses' does not fit the form at {key!r:.100}: {error}"
        raise RPCError(problem[:500], code=jsonrpc.INVALID_PARAMS) from None


def _failed(code: int, message: str, data: Any = None) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {"status": "failed", "statusMessage": message, "error": error if data is None else {**error, "data": data}}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
