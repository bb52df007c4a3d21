"""Records: frozen dataclasses to every observer, without the price of importing ``dataclasses``."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from streamhttp_client._record import EMPTY, FrozenDict, Record

T = TypeVar("T")


class Open(Record, kw_only=True):
    extra: Mapping[str, Any] = EMPTY


class Point(Open):
    x: int
    y: int = 0
    label: str | None = None
    unit: ClassVar[str] = "m"


class Named(Point):
    name: str = "nobody"
    y: int = 5


class Checked(Record):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not pass high")


class Box(Record, Generic[T]):
    value: T


class Handmade(Record):
    value: int

    def __init__(self, text: str) -> None:
        self.__dict__["value"] = int(text)


class Reference(Record):
    """The twin written with ``@dataclass`` below is what a record must agree with."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class ReferenceTwin:
    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


def test_construction_by_position_and_keyword() -> None:
    """Fields are positional in order; those of a keyword-only class are not."""
    point = Point(1, 2, "p", extra={"k": 1})
    assert (point.x, point.y, point.label, point.extra) == (1, 2, "p", {"k": 1})
    assert Point(x=1) == Point(1, 0, None)
    assert Point(1).unit == "m"
    assert Named(1).y == 5
    assert Named(1, 2, None, "n").name == "n"


@pytest.mark.parametrize(
    ("args", "values", "message"),
    [
        ((), {}, "Point needs 'x'"),
        ((1, 2, "p", {}), {}, "takes at most 3 positional arguments, got 4"),
        ((1,), {"x": 1}, "got 'x' twice"),
        ((1,), {"z": 1, "a": 2}, "has no field 'a', 'z'"),
    ],
)
def test_construction_refuses(args: tuple[Any, ...], values: dict[str, Any], message: str) -> None:
    """A wrong call is a TypeError that names the field."""
    with pytest.raises(TypeError, match=message):
        Point(*args, **values)


def test_post_init_runs() -> None:
    """``__post_init__`` may refuse the values."""
    assert Checked(1, 2).high == 2
    with pytest.raises(ValueError, match="low must not pass high"):
        Checked(2, 1)


def test_immutable() -> None:
    """Assignment and deletion raise what a frozen dataclass raises."""
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="'new'"):
        setattr(point, "new", 2)  # noqa: B010
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        del point.x
    assert point == Point(1)


def test_equality_and_hash() -> None:
    """Records compare by type and values, and hash when their values do."""
    assert Point(1) == Point(1) != Point(2)
    assert Point(1) != Named(1, 0)
    assert Point(1).__eq__(3) is NotImplemented
    point = Point(1, extra={"k": float("nan")})
    assert point == point
    assert Reference(1, "".join(["b"])) == Reference(1)
    assert hash(Point(1)) == hash(Point(1, 0, None))
    assert len({Point(1), Point(1), Point(2)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1, extra={"k": []}))


def test_repr_shows_what_was_given() -> None:
    """Defaults are left out: most fields of the protocol are optional and absent."""
    assert repr(Point(1)) == "Point(x=1)"
    assert repr(Point(1, 2, extra={"k": 1})) == "Point(x=1, y=2, extra={'k': 1})"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol: int) -> None:
    """Records pickle with every protocol, with and without defaults."""
    for value in (Point(1), Point(1, 2, "p", extra={"k": [1]}), Named(1), Box(Point(1)), Handmade("7")):
        again = pickle.loads(pickle.dumps(value, protocol))
        assert again == value
        assert type(again) is type(value)


def test_copies() -> None:
    """``copy`` shares values, ``deepcopy`` does not; the empty default stays the one object."""
    inner = {"k": [1]}
    point = Point(1, extra=inner)
    assert copy.copy(point) == point
    assert copy.copy(point).extra is inner
    deep = copy.deepcopy(point)
    assert deep == point
    assert deep.extra is not inner
    assert copy.deepcopy(Point(1)).extra is EMPTY


def test_is_a_dataclass() -> None:
    """``dataclasses`` sees a frozen dataclass with the same fields, defaults and annotations."""
    assert [dataclasses.is_dataclass(value) for value in (Point, Point(1), Named)] == [True, True, True]
    fields = {field.name: field for field in dataclasses.fields(Named)}
    assert list(fields) == ["extra", "x", "y", "label", "name"]
    assert fields["x"].default is dataclasses.MISSING
    assert fields["y"].default == 5
    factory = fields["extra"].default_factory
    assert factory is not dataclasses.MISSING
    assert factory() is EMPTY
    assert fields["extra"].kw_only
    assert not fields["x"].kw_only
    assert fields["label"].type == "str | None"
    assert Point.__dataclass_fields__ is Point.__dataclass_fields__
    assert list(Point.__dataclass_fields__) == ["extra", "x", "y", "label"]
    assert getattr(Point, "__dataclass_params__").frozen  # noqa: B009


def test_agrees_with_a_real_dataclass() -> None:
    """A record and a dataclass with the same body give the same answers."""
    for name in ("default", "default_factory", "init", "repr", "hash", "compare", "kw_only", "type", "name"):
        mine = [getattr(field, name) for field in dataclasses.fields(Reference)]
        assert mine == [getattr(field, name) for field in dataclasses.fields(ReferenceTwin)]
    assert inspect.signature(Reference) == inspect.signature(ReferenceTwin)
    assert Reference.__match_args__ == ReferenceTwin.__match_args__
    assert dataclasses.asdict(Reference(1)) == dataclasses.asdict(ReferenceTwin(1))
    assert dataclasses.astuple(Reference(1)) == dataclasses.astuple(ReferenceTwin(1))
    assert hash(Reference(1)) == hash(ReferenceTwin(1))


def test_asdict_descends_and_serialises() -> None:
    """``asdict`` goes into nested records, and its answer is JSON, the empty default included."""
    nested = Box(value=(Point(1), Point(2, extra={"k": 1})))
    assert json.loads(json.dumps(dataclasses.asdict(nested))) == {
        "value": [
            {"extra": {}, "x": 1, "y": 0, "label": None},
            {"extra": {"k": 1}, "x": 2, "y": 0, "label": None},
        ]
    }


def test_replace() -> None:
    """``dataclasses.replace`` and ``copy.replace`` give a changed copy."""
    point = Point(1, 2, extra={"k": 1})
    assert dataclasses.replace(point, y=3) == Point(1, 3, extra={"k": 1})
    assert point.y == 2
    assert point.__replace__(x=9) == Point(9, 2, extra={"k": 1})
    if sys.version_info >= (3, 13):
        assert copy.replace(point, x=9) == Point(9, 2, extra={"k": 1})
    with pytest.raises(TypeError, match="no field 'z'"):
        point.__replace__(z=1)


def test_signature() -> None:
    """``inspect.signature`` tells the constructor, also one that was written by hand."""
    assert str(inspect.signature(Point)) == (
        "(x: 'int', y: 'int' = 0, label: 'str | None' = None, *, "
        "extra: 'Mapping[str, Any]' = <factory>) -> None"
    )
    assert list(inspect.signature(Handmade).parameters) == ["text"]
    assert Handmade("7").value == 7


def test_match_statement() -> None:
    """Positional patterns follow the fields."""
    match Point(1, 2):
        case Point(x, y, label=None):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("did not match")
    assert Point.__match_args__ == ("x", "y", "label")


def test_a_real_dataclass_can_extend_a_record() -> None:
    """``@dataclass(frozen=True)`` on a subclass collects the record's fields."""

    @dataclasses.dataclass(frozen=True)
    class Extended(Reference):
        d: int = 4

    assert Extended(1, d=5) == Extended(a=1, b="b", c=(), d=5)
    assert [field.name for field in dataclasses.fields(Extended)] == ["a", "b", "c", "d"]


def test_definitions_that_would_share_or_break() -> None:
    """A mutable default, and a required field after an optional one, are refused where they are written."""
    with pytest.raises(TypeError, match="Bad.x has a mutable default"):

        class Bad(Record):
            x: Any = []  # noqa: RUF012

    with pytest.raises(TypeError, match="Late.y has no default but follows x"):

        class Late(Record):  # type: ignore[misc, unused-ignore]
            x: int = 1
            y: int  # type: ignore[misc, unused-ignore]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.__setitem__("a", 1),
        lambda m: m.update(a=1),
        lambda m: m.setdefault("a", 1),
        lambda m: m.__ior__({"a": 1}),
        lambda m: m.pop("a", None),
        lambda m: m.popitem(),
        lambda m: m.clear(),
        lambda m: m.__delitem__("a"),
    ],
)
def test_empty_stays_empty(change: Any) -> None:
    """The shared default mapping cannot be filled by accident."""
    with pytest.raises(TypeError, match="cannot be changed"):
        change(EMPTY)
    assert EMPTY == {}
    assert copy.copy(EMPTY) is EMPTY
    assert copy.deepcopy(EMPTY) is EMPTY
    default = FrozenDict(type="object")
    again = pickle.loads(pickle.dumps(default))
    assert (again, type(again), hash(again)) == (default, FrozenDict, hash(default))


def test_import_is_cheap() -> None:
    """Defining and using records leaves ``dataclasses`` and ``inspect`` unimported."""
    script = (
        "from __future__ import annotations\n"
        "import sys, pickle\n"
        "before = set(sys.modules)\n"
        "import importlib.util\n"
        "spec = importlib.util.spec_from_file_location('record', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['record'] = module\n"
        "spec.loader.exec_module(module)\n"
        "class P(module.Record):\n"
        "    x: int\n"
        "    y: int = 0\n"
        "p = P(1)\n"
        "assert p == pickle.loads(pickle.dumps(p)) and hash(p) and repr(p) == 'P(x=1)'\n"
        "new = {'dataclasses', 'inspect', 'typing_extensions'} & (set(sys.modules) - before)\n"
        "assert not new, new\n"
    )
    source = sys.modules[Record.__module__].__file__
    assert source is not None
    done = subprocess.run([sys.executable, "-c", script, source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
