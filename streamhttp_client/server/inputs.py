"""What a handler asks the client in the stateless era: multi round-trip requests (MCP 2026-07-28, basic/patterns/mrtr).

No handler is held on a thread while a person thinks. The first question that has no answer yet ends the run of the
handler, by a signal that it does not see; the client gets the question, and sends its request again with the answer;
then the handler is **run again from its beginning**, and each question that has an answer returns it at once. What
a handler does before a question, it does in every round; :meth:`Inputs.once` is for what must happen only once.

What was answered in earlier rounds travels with the client in ``requestState``, so any worker can do the next round.
It is signed, expires, and is bound to method, parameters and caller: "servers MUST treat requestState as an
attacker-controlled input". It is not encrypted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .. import jsonrpc
from ..exceptions import InvalidResult, LocalProtocolError, RPCError
from ..protocol.models.elicitation import ElicitResult
from ..protocol.models.inputs import ANSWERS
from .forms import SchemaError, read_form
from .results import plain

K = TypeVar("K", str, "str | None")

__all__ = [
    "MAX_KEPT",
    "InputNeeded",
    "Inputs",
    "SchemaError",
    "Sealer",
    "input_required",
    "read_answer",
    "read_inputs",
]

# Bytes of JSON that one request keeps between its rounds. Counted before they are compressed: most of them come from
# the client, and what packs well would otherwise cost the server a thousand times what it costs to send.
MAX_KEPT = 1 << 20
# Characters of a state: zlib makes what it cannot pack a little longer, and base64 adds a third.
_MAX_STATE = (MAX_KEPT + 4096) * 4 // 3


class InputNeeded(BaseException):
    """A question has no answer yet, so this run of the handler ends. Never leaves the server wing.

    Not an ``Exception``, so that a handler which catches those does not take it for a failure.
    """


class TooMuchKept(LocalProtocolError):
    """A request has more to remember than it may."""


class Sealer:
    """Signs what clients carry from round to round.

    Args:
        secret: The same in all processes that serve the same clients; or what gives it. That is asked each time, so
            that processes do not differ for ever after their store has lost it, and got another.
        audience: Names the endpoint, so that a state of one that shares the secret is none here.
        ttl: Seconds for which a state is good.
        clock: Seconds since the epoch; for tests.
    """

    def __init__(
        self,
        secret: bytes | Callable[[], bytes],
        *,
        audience: Sequence[str] = (),
        ttl: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._purpose = json.dumps(["streamhttp_client requestState 2", *audience]).encode()
        self._ttl = ttl
        self._clock = clock

    def seal(self, binding: bytes, content: Mapping[str, Any]) -> str:
        """Return the state for the client.

        Raises:
            TooMuchKept: The content is too large.
        """
        data = json.dumps(content, separators=(",", ":")).encode()
        if len(data) > MAX_KEPT:
            raise TooMuchKept(f"a request may keep {MAX_KEPT} bytes between its rounds, got {len(data)}")
        payload = int(self._clock() + self._ttl).to_bytes(8, "big") + zlib.compress(data, 6)
        return base64.urlsafe_b64encode(self._sign(binding, payload) + payload).decode("ascii")

    def open(self, binding: bytes, state: Any) -> dict[str, Any]:
        """Return what was sealed.

        Raises:
            RPCError: It was not sealed here, was changed, belongs to another request or caller, or has expired.
        """
        raw = b""
        if isinstance(state, str) and len(state) <= _MAX_STATE and state.isascii():
            try:
                raw = base64.b64decode(state, b"-_", validate=True)
            except ValueError:
                raw = b""
        mac, payload = raw[:32], raw[32:]
        # The comparison of the text catches the spellings of base64 that decode to the same bytes.
        genuine = hmac.compare_digest(mac, self._sign(binding, payload)) and (
            base64.urlsafe_b64encode(raw).decode("ascii") == state
        )
        if not genuine:
            raise RPCError("'requestState' is not one that was given for this request", code=jsonrpc.INVALID_PARAMS)
        if int.from_bytes(payload[:8], "big") < self._clock():
            raise RPCError("'requestState' has expired, begin anew", code=jsonrpc.INVALID_PARAMS)
        # Bounded here as well, although nothing larger is sealed: a secret lives longer than one version of this.
        data = zlib.decompressobj().decompress(payload[8:], MAX_KEPT + 1)
        if len(data) > MAX_KEPT:
            raise RPCError("'requestState' is too large, begin anew", code=jsonrpc.INVALID_PARAMS)
        content: dict[str, Any] = json.loads(data)
        return content

    def _sign(self, binding: bytes, payload: bytes) -> bytes:
        secret = self._secret if isinstance(self._secret, bytes) else self._secret()
        # A key of its own for this purpose, whatever else the secret is used for.
        key = hmac.digest(secret, self._purpose, "sha256")
        return hmac.digest(key, binding + payload, "sha256")


_NOT_BOUND = frozenset(("_meta", "inputResponses", "requestState"))


def _binding(request: jsonrpc.Request, principal: str | None) -> bytes:
    """ "an identifier for the originating request, e.g. the method name and a digest of its salient parameters", and
    "the authenticated principal".
    """
    params = {key: value for key, value in (request.params or {}).items() if key not in _NOT_BOUND}
    return hashlib.sha256(json.dumps([request.method, params, principal], sort_keys=True).encode()).digest()


class Inputs:
    """The answers of one request so far, and the questions that it still has.

    Args:
        answers: By key, as they came. Those that are no answers to the question of their key count as missing.
        kept: What :meth:`once` kept in earlier rounds.
    """

    def __init__(self, answers: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        self.answers = answers
        self.kept: dict[str, Any] = dict(kept)
        #: Questions without an answer, as they go to the client.
        self.pending: dict[str, dict[str, Any]] = {}
        #: Answers that were used in this run.
        self.used: dict[str, Any] = {}
        # The question of each key of this run.
        self._asked: dict[str, str] = {}

    def ask(self, questions: Mapping[K, tuple[str, Mapping[str, Any]]]) -> dict[K, Any]:
        """Return the answers, by key.

        A key of None stands for one that is made of the question itself, so that an answer never meets another
        question than the one that the user saw.

        Raises:
            InputNeeded: Some have none; they are pending.
            RPCError: An answer has not the shape of its kind.
            LocalProtocolError: The key was used for another question in this run.
        """
        found: dict[K, Any] = {}
        for given, (method, params) in questions.items():
            text = json.dumps([method, params], sort_keys=True)
            key = self._new_key(method, text) if given is None else given
            if self._asked.setdefault(key, text) != text:
                raise LocalProtocolError(f"the key {key!r} stands for two questions")
            try:
                if key in self.answers:
                    found[given] = self.used[key] = read_answer(key, method, params, self.answers[key])
                    continue
            except SchemaError:
                pass  # the user shall have another try
            self.pending[key] = {"method": method, "params": dict(params)}
        if self.pending:
            raise InputNeeded
        return found

    def _new_key(self, method: str, text: str) -> str:
        key = f"{method.partition('/')[0]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        number = sum(1 for known in self._asked if known.partition(".")[0] == key)
        return f"{key}.{number + 1}" if number else key

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned in the first round that came here."""
        if key not in self.kept:
            self.kept[key] = plain(make())
        return self.kept[key]


def read_answer(key: str, method: str, params: Mapping[str, Any], answer: Any) -> Mapping[str, Any]:
    """Return an answer as the handler shall have it.

    Raises:
        SchemaError: It is data that the form does not allow, which can be asked for once more.
        RPCError: It is of another shape altogether.
    """
    try:
        result = ANSWERS[method].from_wire(answer)
    except InvalidResult as error:
        problem = f"'inputResponses' has no answer to {method} at {key!r:.100}: {error}"
        raise RPCError(problem[:500], code=jsonrpc.INVALID_PARAMS) from None
    if not isinstance(result, ElicitResult):
        return dict(answer)
    if result.action not in ("accept", "decline", "cancel"):
        problem = f"'inputResponses' has an unknown action at {key!r:.100}"
        raise RPCError(problem, code=jsonrpc.INVALID_PARAMS)
    return read_form(params, answer)


def read_inputs(request: jsonrpc.Request, principal: str | None, sealer: Sealer) -> Inputs:
    """The inputs that a request brought.

    Raises:
        RPCError: The state is not good, or the answers are no object of objects.
    """
    params = request.params or {}
    answers = params.get("inputResponses")
    if answers is None and "inputResponses" not in params:
        answers = {}
    if not isinstance(answers, dict) or not all(isinstance(answer, dict) for answer in answers.values()):
        raise RPCError("'inputResponses' must be an object of objects", code=jsonrpc.INVALID_PARAMS)
    if "requestState" not in params:
        return Inputs(answers, {})
    state = sealer.open(_binding(request, principal), params["requestState"])
    # What was answered before stays as it was.
    return Inputs({**answers, **state["answers"]}, state["kept"])


def input_required(request: jsonrpc.Request, principal: str | None, sealer: Sealer, inputs: Inputs) -> dict[str, Any]:
    """The result that asks the pending questions.

    Raises:
        RPCError: It would be too large: the client's answers are kept as well.
        LocalProtocolError: What the handler keeps is too large, or has no JSON form.
    """
    content = {"answers": inputs.used, "kept": inputs.kept}
    try:
        state = sealer.seal(_binding(request, principal), content)
    except TooMuchKept as error:
        if not inputs.used:
            raise
        problem = f"the answers to this request are too large: {error}"
        raise RPCError(problem, code=jsonrpc.INVALID_PARAMS) from None
    return {"resultType": "input_required", "inputRequests": inputs.pending, "requestState": state}
