"""A request under way, from its sending to its result: attempts, rounds of input, a task that it became.

A :class:`Run` is the engine's side of a call. It knows nothing of who waits for it, so that a call which its user drops
is collected, and the run is ended by the next one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import jsonrpc
from ..exceptions import (
    CallCancelled,
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    HeaderMismatch,
    HTTPStatusError,
    InvalidResult,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
    ResumeRefused,
    RPCError,
    SessionExpired,
    StreamHTTPError,
    TransportError,
    UnsupportedVersion,
)
from ..net.retry import Effort
from ..progress import OnProgress, SharedMeter
from ..protocol import calls
from ..protocol.calls import Operation
from ..protocol.session import StreamCursor
from ..transport.answers import rpc_error
from .callbacks import check_function
from .hearing import Hearing
from .work import FAREWELL_SECONDS

if TYPE_CHECKING:
    from ..protocol.models.deferred import DeferredTask
    from ..protocol.models.notifications import LogMessage
    from ..transport.link import Link, RequestUnderWay
    from .engine import Engine
    from .hearing import CallEvent
    from .rounds import Rounds

__all__ = ["Run", "raw_object"]

logger = logging.getLogger("streamhttp_client")

# Handlers of these may ask the user something before they answer; those of the others have no reason to.
_MAY_ASK = frozenset(("tools/call", "prompts/get", "resources/read", "completion/complete", "tasks/result"))

T = TypeVar("T")
U = TypeVar("U")


class Run(Generic[T]):
    """One request to the server. Iterate it for what comes before its result, on one thread; others may cancel it.

    Args:
        engine: Whose request it is.
        operation: What is asked.
        effort: The limits of the whole.
        repeatable: Whether it may be sent again when it may have been carried out.
        on_progress, on_log: The caller's functions.
        wants_progress, wants_log: Whether to ask for them even without a function, because somebody iterates.
        resume_from: Where to take up an answer, of a request that was sent before.
        finish: Looks at the result before it is given.
        renewable: Whether it means the same in a new session.
        task_token: The progress token of the call that became the task which this one asks after.
        rounds: Those that were begun before.
        relist: Lists the tools; given the effort, and what was known of them.
        awaits_task: Whether a task is asked after until its end; else the run ends with it.
        task_id: A task to ask after, in place of sending anything. It is not cancelled with the run.
        keep: Told the result as it came, unless it depends on answers to questions.
        count: Counts progress, where it goes on.
    """

    def __init__(
        self,
        engine: Engine,
        operation: Operation[T],
        effort: Effort,
        *,
        repeatable: bool,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        wants_progress: bool = False,
        resume_from: StreamCursor | None = None,
        finish: Callable[[T], T] | None = None,
        renewable: bool = True,
        task_token: jsonrpc.RequestId | None = None,
        rounds: Rounds | None = None,
        wants_log: bool = False,
        relist: Callable[[Effort, object], object] | None = None,
        awaits_task: bool = True,
        task_id: str | None = None,
        keep: Callable[[Any], object] | None = None,
        count: SharedMeter | None = None,
    ) -> None:
        if engine.closed:
            raise ClientClosed("the client is closed")
        check_function("on_progress", on_progress)
        check_function("on_log", on_log)
        self._engine = engine
        self._operation = operation
        self._effort = effort
        self._repeatable = repeatable
        self._hearing = Hearing(engine, effort, on_progress, on_log, count)
        self._wants_progress = wants_progress or on_progress is not None
        self._resume_from = resume_from
        self._finish = finish
        self._renewable = renewable
        self._task_token = task_token
        self._rounds = rounds
        self._relist = relist
        self._seen_tools: object = None  # how they were when the request was made
        self._keep = keep
        self._awaits_task = awaits_task
        self._task_id = task_id
        self._wants_log = wants_log or on_log is not None
        self._link: Link | None = None
        self._exchange: RequestUnderWay | None = None
        self._events: Generator[CallEvent, None, None] | None = None
        self._result: T | None = None
        self._failure: BaseException | None = None
        self._cancelled: str | None = None  # the reason
        self._foreign: BaseException | None = None  # what a callback raised on the listener's thread
        self._may_have_executed = resume_from is not None
        self._answered = False
        self._told = False
        self._lost: StreamHTTPError | None = None  # the last attempt that was lost, and repeated
        self._pid = os.getpid()
        self.done = False
        self.task: DeferredTask | None = None
        self.request_id: jsonrpc.RequestId | None = None if resume_from is None else resume_from.request_id
        self._hearing.tokens = (self.request_id, task_token)

    # -- for who waits for it

    def __iter__(self) -> Iterator[CallEvent]:
        return self

    def __next__(self) -> CallEvent:
        if self.done:
            raise StopIteration
        if self._failure is not None:
            raise self._failure
        if self._is_elsewhere():
            raise LocalProtocolError("this call is one of the parent process; resume it by its cursor")
        if self._cancelled is not None:
            self._stop()
            raise CallCancelled(f"the call was cancelled: {self._cancelled}")
        if self._events is None:
            self._events = self._run()
        try:
            return next(self._events)
        except StopIteration:
            if not self.done:
                raise ClientClosed("the client is closed") from None
            raise
        except BaseException as error:
            if isinstance(error, ValueError) and getattr(self._events, "gi_running", False):
                raise LocalProtocolError("this call is iterated elsewhere: by another thread, or around this") from None
            self._failure = error
            raise

    @property
    def result(self) -> T:
        """The result; reads on to the end if it has not come yet."""
        for _ in self:
            pass
        return self._result  # type: ignore[return-value]  # set, or the loop has raised

    @property
    def cursor(self) -> StreamCursor | None:
        """Where it stands; None if it cannot be resumed."""
        exchange, link = self._exchange, self._link
        if exchange is None or link is None:
            return self._resume_from
        if self.done or not link.era.may_resume(exchange.last_event_id):
            return None
        operation = self._operation
        return StreamCursor(
            exchange.request_id, exchange.last_event_id, operation.method, operation.name, exchange.retry_ms
        )

    def cancel(self, reason: str, seconds: float = FAREWELL_SECONDS) -> None:
        """End it, and tell the server, within so many seconds. Any thread; nothing happens after the end."""
        if self._answered or self._failure is not None or self._cancelled is not None or self._is_elsewhere():
            return
        self._cancelled = reason
        self._effort.interrupt.fire()
        self._tell_cancelled(reason, seconds)

    def end(self, reason: str, seconds: float = FAREWELL_SECONDS) -> None:
        """Cancel it unless it has ended, and let go of everything. On the iterating thread, or when there is none."""
        if self._is_elsewhere():
            return  # a forked child leaves it as well; its connection is the parent's
        try:
            if not self.done and self._failure is None:
                self.cancel(reason, seconds)
        finally:
            self._stop()

    def forsake(self) -> None:
        """Nobody waits for it any more. It is ended by the next one, since this may be said by the collector."""
        if self._events is not None:
            self._engine.work.forsake(self)

    def give_up(self, seconds: float) -> None:
        """The client is closed: let go of everything, unless a thread is in it, which has been woken to do so.

        A task that would go on for nobody is cancelled, if there are ``seconds`` for it. Any thread.
        """
        if seconds and self.task is not None and not self._answered and not self._told and self._task_id is None:
            self._told = True
            self._engine.tell_task_cancelled(self.task.task_id, seconds)
        if self._events is not None:
            try:
                self._events.close()
            except ValueError:
                pass

    def _is_elsewhere(self) -> bool:
        """Whether another process made this call: a forked child must not touch what it shares with its parent."""
        return self._pid != os.getpid()

    # -- the work

    def _run(self) -> Generator[CallEvent, None, None]:
        engine, operation = self._engine, self._operation
        try:
            self._effort.begin()
            engine.work.enter(self, self._effort)
            if self._task_id is not None:
                yield from self._await_task(self._task_id)
                return
            if engine.session is None:  # what cannot be sent is to be known before a server is asked for
                jsonrpc.dump(jsonrpc.Request(0, operation.method, operation.params))
            tried: set[str] = set()
            while True:
                try:
                    link = self._link = engine.ready(self._effort, may_be_asked=operation.method in _MAY_ASK)
                except TransportError as error:
                    error.may_have_executed = False  # it is about finding the server; _mark() looks at earlier attempts
                    raise
                engine.require(link, operation, self._effort)
                exchange = self._exchange = self._begin(link)
                try:
                    yield from self._follow(link, exchange)
                    return
                except _Again as again:
                    exchange.close()
                    failure = again.failure
                    kind, result = "", {}
                except _Unfinished as unfinished:
                    exchange.close()
                    kind, result = unfinished.kind, unfinished.result
                # Outside of the handlers, so that what goes wrong here has no private result in its context.
                if kind == "task":
                    from ..protocol.models.deferred import DeferredResult

                    self.task = DeferredResult.from_wire(result)
                    if self._awaits_task:
                        yield from self._await_task(self.task)
                    else:
                        self._answered = self.done = True
                    return
                if kind:
                    if self._rounds is None:
                        from .rounds import Rounds

                        self._rounds = Rounds(engine.callbacks, operation)
                    self._rounds.answer(result, self._effort)
                else:
                    self._prepare_another(link, failure, tried)
        except ClientClosed:
            if self._foreign is not None:
                raise self._foreign from None
            if self._cancelled is not None:
                raise CallCancelled(f"the call was cancelled: {self._cancelled}") from None
            raise
        except CallTimeout as error:
            self._tell_cancelled("the time for the call is over")
            self._mark(error)
            error.resumable, error.cursor = False, None
            raise
        except RemoteProtocolError:
            self._tell_cancelled("the answer cannot be understood")
            raise
        except TransportError as error:
            if isinstance(error, ReadTimeout) and not error.resumable:
                self._tell_cancelled("the server was silent for too long")
            self._mark(error)
            raise
        except (StreamHTTPError, GeneratorExit):
            raise  # refused, answered, or lost and perhaps to be resumed: nothing to cancel
        except BaseException:  # Ctrl-C, or what another signal handler raised in the read, such as a soft time limit
            self._tell_cancelled("the caller was interrupted")
            raise
        finally:
            self._release()
            engine.work.leave(self)

    def _prepare_another(self, link: Link, failure: StreamHTTPError, tried: set[str]) -> None:
        """Do what has to be done before the request is sent again, or raise the failure if it must not be.

        Args:
            link: On which it was sent.
            failure: How that ended.
            tried: What was done about it already; each remedy is used once.
        """
        engine, method = self._engine, self._operation.method
        if isinstance(failure, HeaderMismatch) and link.era.mirrors_arguments:
            # "the client SHOULD call tools/list to check for changes to the tool's inputSchema, then retry the original
            # request with the appropriate headers." MCP 2026-07-28, basic/transports/streamable-http
            if self._relist is None or "list" in tried:
                raise failure
            tried.add("list")
            self._relist(self._effort, self._seen_tools)
        elif isinstance(failure, SessionExpired) or link.era.is_foreign(failure):
            if not engine.heal(link, failure, self._effort, tried, renewable=self._renewable):
                raise (isinstance(failure, SessionExpired) and self._lost) or failure
            self._rounds = None  # what was asked and answered was so by the rules of before
        elif self._repeatable and self._effort.again():
            logger.info("the answer of %s was lost, asking again: %s", method, str(failure))
            self._tell_cancelled("the answer was lost; the request is repeated with another id")
            self._told, self._lost = False, failure
            tried.discard("renew")  # with some transports each break costs a session; attempts are counted already
        else:
            if isinstance(failure, ConnectionLost) and failure.may_have_executed and not failure.resumable:
                if not self._repeatable:
                    words = "it may have been carried out, so it was not sent again (idempotent=True allows that)"
                    failure.args = (f"{failure}; {words}",)
            raise failure

    def _begin(self, link: Link) -> RequestUnderWay:
        engine, operation = self._engine, self._operation
        cursor, self._resume_from = self._resume_from, None
        if cursor is not None:
            return link.resume(cursor.request_id, cursor.last_event_id, self._effort)
        self.request_id = request_id = engine.next_id()
        self._hearing.tokens = (request_id, self._task_token)
        params = operation.params if self._rounds is None else self._rounds.params
        if self._wants_progress:
            params = dict(params or {})
            params["_meta"] = {**params.get("_meta", {}), "progressToken": request_id}
        also = None if self._rounds is None else self._rounds.capabilities
        params = link.era.dress(params, log_level=engine.level(self._wants_log), also=also)
        message = jsonrpc.Request(request_id, operation.method, params)
        self._seen_tools = engine.tools.listed
        return link.request(message, self._effort, engine.mirrored(link, operation))

    def _follow(self, link: Link, exchange: RequestUnderWay) -> Generator[CallEvent, None, None]:
        """Hand out what arrives, until the response.

        Raises:
            _Again: Another attempt may mend it.
            _Unfinished: The server wants to know something first, or has made a task of it.
        """
        messages = iter(exchange)
        while True:
            # Only what the exchange itself raises may lead to another attempt: a callback may call the client again,
            # and its failures are its own.
            try:
                message = next(messages)
            except StopIteration:
                raise RemoteProtocolError(
                    f"the answer to {self._operation.method!r} holds no response with id {exchange.request_id!r}"
                ) from None
            except (HTTPStatusError, RPCError, UnsupportedVersion) as error:
                if isinstance(error, (SessionExpired, HeaderMismatch)) or link.era.is_foreign(error):
                    raise _Again(error) from error
                raise
            except (ConnectionLost, ResumeRefused) as error:
                self._may_have_executed = self._may_have_executed or exchange.in_flight
                error.cursor = self.cursor if error.resumable else None
                if error.may_have_executed:
                    raise _Again(error) from error
                raise
            self._may_have_executed = True
            if isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse)):
                self._settle(link, message, exchange)
                return
            try:
                if isinstance(message, jsonrpc.Request):
                    self._engine.serve(link, message, self._effort, exchange)
                    continue
                event = self._hearing.take(message)
            except BaseException:
                self._tell_cancelled("the caller failed")
                raise
            if event is not None:
                yield event

    def _mark(self, error: TransportError) -> None:
        """Have the error say of the whole call, with all its attempts, whether the server may have acted on it."""
        in_flight = self._exchange is not None and self._exchange.in_flight
        error.may_have_executed = error.may_have_executed or self._may_have_executed or in_flight

    def _settle(
        self, link: Link, message: jsonrpc.Response | jsonrpc.ErrorResponse, exchange: RequestUnderWay
    ) -> None:
        """The response is here."""
        # An error without an id answers a request that the server could not read: this one, for it came to it.
        wanted = exchange.request_id
        if message.id is not None and (message.id != wanted or type(message.id) is not type(wanted)):
            raise RemoteProtocolError(f"expected the response to request {wanted!r}, got one for {message.id!r:.80}")
        self._answered = True
        exchange.close()
        if isinstance(message, jsonrpc.ErrorResponse):
            error = rpc_error(message)
            if isinstance(error, HeaderMismatch) or link.era.is_foreign(error):
                self._answered = False
                raise _Again(error)
            raise error
        kind = link.era.result_kind(self._operation.method, message.result)
        if kind != "complete":
            self._answered = False
            raise _Unfinished(kind, message.result)
        self._take_result(message.result)

    def _take_result(self, result: Any) -> None:
        value = self._operation.parse(result)
        # What depends on answers to questions is no answer to the bare request.
        if self._keep is not None and self._rounds is None:
            self._keep(result)
        self._result = value if self._finish is None else self._finish(value)
        self.done = True

    def _await_task(self, task: DeferredTask | str) -> Generator[CallEvent, None, None]:
        """Ask after a task until it has ended, and take what came of it."""
        from ..protocol.models.deferred import DeferredTask
        from .deferred import follow

        if isinstance(task, str):
            task = yield from self._ask_beside(calls.poll_task(task))
        events = follow(self._engine.callbacks, task, self._effort, self._ask_beside)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                self._answered = True
                self._take_result(end.value)
                return
            if isinstance(event, DeferredTask):
                self.task = event
                if event.status_message:
                    self._hearing.tell(event.status_message)
            yield event

    def _ask_beside(self, operation: Operation[U]) -> Generator[CallEvent, None, U]:
        """Another request for the same caller, within what is left of the time; what arrives with it is handed out."""
        run = Run(self._engine, operation, self._effort.part(), repeatable=True, **self.callbacks())
        try:
            yield from run
        finally:
            run.end("the caller left the block")  # nothing, if it has its result
        return run.result

    def callbacks(self) -> dict[str, Any]:
        """What another run needs to hear in place of this one, which has become a task: the token lives on with it."""
        hearing = self._hearing
        return {
            "on_progress": hearing.on_progress,
            "on_log": hearing.on_log,
            "task_token": self.request_id,
            "count": hearing.counted(),
        }

    def owns(self, token: Any) -> bool:
        """Whether a progress token is this call's."""
        return self._hearing.owns(token)

    def wake(self) -> None:
        """Have the thread that is blocked in the call end it. Any thread."""
        self._effort.interrupt.fire()

    def take_elsewhere(self, message: jsonrpc.Notification) -> None:
        """Take a notification on the listener's thread. What a callback raises there ends this call, and no other."""
        try:
            self._hearing.take(message)
        except BaseException as error:
            if self._foreign is None and self._cancelled is None:
                self._foreign, self._cancelled = error, "the caller failed"
                self._tell_cancelled("the caller failed")  # and then wake the caller, who is to find it cancelled
                self.wake()

    def _tell_cancelled(self, reason: str, seconds: float = FAREWELL_SECONDS) -> None:
        """Tell the server, in the way of the era, unless it never heard of the request or has answered it."""
        exchange, link = self._exchange, self._link
        if exchange is None or link is None or self._answered or self._told or not seconds:
            return  # also where it only waits for a task, which has sent nothing
        if self.task is not None:
            self._told = True
            self._engine.tell_task_cancelled(self.task.task_id, seconds)
        elif exchange.in_flight:
            self._told = True
            self._engine.tell_cancelled(link, exchange.request_id, reason, seconds)

    def _stop(self) -> None:
        """Let go of everything now, and not when the generator is collected. On the iterating thread."""
        if self._events is not None:
            try:
                self._events.close()
            except ValueError:
                pass  # another thread is in it after all; it has been woken
        self._release()

    def _release(self) -> None:
        if self._exchange is not None:
            self._exchange.close()


class _Unfinished(Exception):
    """Carries a result that is not the last word out of the loop; it never leaves this module."""

    def __init__(self, kind: str, result: Any) -> None:
        super().__init__()  # without the result, which may be private, among the arguments
        self.kind = kind
        self.result = result


class _Again(Exception):
    """Carries a failure that another attempt may mend out of the loop; it never leaves this module."""

    def __init__(self, failure: StreamHTTPError) -> None:
        self.failure = failure


def raw_object(result: Any) -> dict[str, Any]:
    """Read a result as it came, for requests that have no verb.

    Raises:
        InvalidResult: It is no object.
    """
    if not isinstance(result, dict):
        raise InvalidResult(f"a result must be an object, got {type(result).__name__}", result=result)
    return result
