"""Trace context: what a caller gives is checked, and what OpenTelemetry gives is passed on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.protocol import trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (PARENT, True),
        ("00-" + "f" * 32 + "-" + "1" * 16 + "-00", True),
        ("01-" + PARENT[3:], True),
        ("cc-" + PARENT[3:] + "-what-the-future-will-be-like", True),
        (PARENT + "-more", False),  # version 00 has nothing more
        ("ff-" + PARENT[3:], False),
        (PARENT.upper(), False),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        (PARENT[:-1], False),
        (PARENT + "\n", False),
        (" " + PARENT, False),
        ("01-" + PARENT[3:] + "-a b", False),
        ("", False),
        (None, False),
        (7, False),
        (PARENT.encode(), False),
    ],
)
def test_traceparent(value: Any, fits: bool) -> None:
    """BASE-12: a traceparent follows W3C Trace Context."""
    assert trace.is_traceparent(value) is fits
    judge("traceparent", value, fits)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", True),
        ("rojo=1 , congo=2", True),
        ("a=b,,c=d,", True),
        ("", True),
        ("fw529a3039@dt=FfAwUmFj", True),
        ("0tenant@sys=a b!~", True),
        ("a_-*/=" + "x" * 256, True),
        (",".join(f"k{number}=v" for number in range(32)), True),
        (",".join(f"k{number}=v" for number in range(33)), False),
        ("a=1,a=2", False),
        ("a=" + "x" * 257, False),
        ("a" * 257 + "=x", False),
        ("A=1", False),
        ("a", False),
        ("a=", False),
        ("a==1", False),
        ("=1", False),
        ("a=é", False),
        ("a=1\n", False),
        (None, False),
        (["a=1"], False),
    ],
)
def test_tracestate(value: Any, fits: bool) -> None:
    """BASE-12: a tracestate follows W3C Trace Context."""
    assert trace.is_tracestate(value) is fits
    judge("tracestate", value, fits)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("userId=alice", True),
        ("key1=value1;property1;property2 = x, key2 = value2 , key3=value3; p=v", True),
        ("userId=Am%C3%A9lie,serverNode=DF%2028,isProduction=false", True),
        ("a=", True),
        ("a=b=c", True),
        (",".join(f"k{number}=v" for number in range(180)), True),
        (",".join(f"k{number}=v" for number in range(181)), False),
        ("", False),
        ("a", False),
        ("a=b,", False),
        ("=b", False),
        ("a=b c", False),
        ('a="b"', False),
        ("a=Amélie", False),
        ("a=b\\c", False),
        ("a b=c", False),
        ("a=b;", False),
        ("a=b\r\n", False),
        (None, False),
        ({}, False),
    ],
)
def test_baggage(value: Any, fits: bool) -> None:
    """BASE-12: a baggage follows W3C Baggage."""
    assert trace.is_baggage(value) is fits
    judge("baggage", value, fits)


def judge(key: str, value: Any, fits: bool) -> None:
    meta = {key: value, "io.example/x": 1}
    if fits:
        trace.check(meta)
        return
    with pytest.raises(LocalProtocolError, match=f"_meta member '{key}' must follow W3C") as caught:
        trace.check(meta)
    if isinstance(value, str) and len(value) > 3:
        assert value not in str(caught.value)


def test_other_members_are_not_looked_at() -> None:
    """BASE-12: only the three names are spoken for."""
    trace.check({})
    trace.check({"Traceparent": 7, "b3": "x", "progressToken": 1})


@given(st.text(max_size=80))
def test_any_text_is_judged(text: str) -> None:
    """BASE-12: any text is a value or is not, and what is one can stand in a header."""
    for fits in (trace.is_traceparent, trace.is_tracestate, trace.is_baggage):
        if fits(text):
            assert all(" " <= char <= "~" or char == "\t" for char in text)


@pytest.mark.parametrize(
    "text",
    ["a=" + "x;" * 20_000, "a" * 100_000, "a=b," * 20_000, "a= \t" + " ;\t" * 20_000 + "!=", f"a=b{' ' * 50_000}!"],
)
def test_long_values_are_judged_quickly(text: str) -> None:
    """BASE-12: the work is linear in what was given; this would not end otherwise."""
    assert not trace.is_baggage(text)
    assert not trace.is_tracestate(text)
    assert not trace.is_traceparent(text)


# --- OpenTelemetry
# ----------------------------------------------------------------------------------------------------------------------

Inject = Callable[[dict[str, str]], None]


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Callable[[Inject | None], None]:
    """A program that uses OpenTelemetry, whose ``propagate`` module has this ``inject``, or cannot be imported."""

    def install(inject: Inject | None) -> None:
        monkeypatch.setattr(trace, "_inject", None)
        for name in ("opentelemetry", "opentelemetry.context"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        propagate: Any = ModuleType("opentelemetry.propagate")
        propagate.inject = inject
        monkeypatch.setitem(sys.modules, "opentelemetry.propagate", None if inject is None else propagate)

    return install


def test_the_context_of_the_program(telemetry: Callable[[Inject | None], None]) -> None:
    """BASE-12: the current context is there under the three names, and nothing else of what propagators write."""
    given = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=1", "b3": "x", "X-Cloud": "y"}
    telemetry(lambda carrier: carrier.update(given))
    assert trace.current() == {"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=1"}
    trace.check(trace.current())


def test_a_context_that_does_not_fit(telemetry: Callable[[Inject | None], None]) -> None:
    """BASE-12: what is not of its format is left out, and the rest is sent."""
    telemetry(lambda carrier: carrier.update({"traceparent": PARENT, "tracestate": "no", "baggage": ""}))
    assert trace.current() == {"traceparent": PARENT}


def test_a_propagator_that_fails(telemetry: Callable[[Inject | None], None]) -> None:
    """BASE-12: a broken propagator costs the trace, and not the call; the next call asks it again."""
    asked = []

    def inject(carrier: dict[str, str]) -> None:
        asked.append(carrier)
        if len(asked) == 1:
            raise RuntimeError("no")
        carrier["traceparent"] = PARENT

    telemetry(inject)
    assert trace.current() == {}
    assert trace.current() == {"traceparent": PARENT}


def test_an_installation_that_is_broken(telemetry: Callable[[Inject | None], None]) -> None:
    """BASE-12: where OpenTelemetry cannot be imported there is no context, and it is tried once."""
    telemetry(None)
    assert trace.current() == {}
    assert trace._inject is trace._nothing
    assert trace.current() == {}


def test_a_program_without() -> None:
    """BASE-12: a program that does not use OpenTelemetry does not load it, whether it is installed or not."""
    script = (
        "import sys\n"
        "from streamhttp_client.protocol import trace\n"
        "assert trace.current() == {}\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """BASE-12: within a span of OpenTelemetry, its trace and its baggage are the context; outside there is none."""
    reason = "OpenTelemetry is not installed: pip install opentelemetry-api"
    context = pytest.importorskip("opentelemetry.context", reason=reason)
    api = pytest.importorskip("opentelemetry.trace", reason=reason)
    baggage = pytest.importorskip("opentelemetry.baggage", reason=reason)
    monkeypatch.setattr(trace, "_inject", None)
    assert trace.current() == {}
    span = api.SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0x00F067AA0BA902B7,
        is_remote=False,
        trace_flags=api.TraceFlags(1),
        trace_state=api.TraceState([("rojo", "1")]),
    )
    token = context.attach(baggage.set_baggage("user", "Amélie", api.set_span_in_context(api.NonRecordingSpan(span))))
    try:
        assert trace.current() == {"traceparent": PARENT, "tracestate": "rojo=1", "baggage": "user=Am%C3%A9lie"}
    finally:
        context.detach(token)
    assert trace.current() == {}
