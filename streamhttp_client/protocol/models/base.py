"""How a record and a JSON object become each other.

A :class:`Model` is written like a dataclass, and its annotations say all: ``mime_type: str | None = None``
reads the optional member ``mimeType``, which must be a string. Nothing is evaluated; the few forms that
annotations take here are read by :func:`_reader`, once per class, when the first object of that class is
read.

Invariants:

- ``Model.from_wire(x).to_wire() == x`` for every ``x`` that is accepted: members that this version does not
  know stay in ``extra``, ``null`` stays apart from a missing member, and neither is invented.
- Only the kind of JSON value is checked, and that required members are there. Strings out of a fixed set
  (roles, levels, formats) stay open, so that a newer peer does not break us.
- Nothing is copied: JSON objects held by a model (``meta``, schemas, structured values) are those that came
  in. Treat them as read-only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..._record import EMPTY, Record
from ...exceptions import InvalidResult

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CacheableResult", "MetaModel", "Model", "Page", "Result", "describe"]

T = TypeVar("T")
Reader = Callable[[Any], Any]


class Mismatch(Exception):  # noqa: N818 - it never leaves this package
    """What was read is not of the declared shape. Each level that it passes puts its own step before the
    path.

    Attributes:
        problem: What is wrong at the end of the path, such as ``must be a string, got 7``.
        steps: Member names and indexes, innermost first.
    """

    def __init__(self, problem: str, *steps: str | int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps = list(steps)

    def describe(self, root: str) -> str:
        path = ""
        for step in reversed(self.steps):
            if isinstance(step, int):
                path += f"[{step}]"
            else:
                path += f".{step}" if path else step
        return f"{path or root} {self.problem}"


def describe(value: Any) -> str:
    """Return a short name for a JSON value, for error messages: scalars themselves, others by kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def expected(what: str, value: Any) -> Mismatch:
    """Return the error for a ``value`` that is not ``what``."""
    return Mismatch(f"must be {what}, got {describe(value)}")


# --- one reader for each form of annotation
# ------------------------------------------------------------------------


def _read_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise expected("a string", value)


def _read_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise expected("true or false", value)


def _read_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():  # JSON does not tell 1.0 from 1
        return int(value)
    raise expected("an integer", value)


def _read_float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise expected("a number", value)


def _read_id(value: Any) -> str | int:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return value
    raise expected("a string or an integer", value)


def _read_object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise expected("an object", value)


def _read_any(value: Any) -> Any:
    return value


def read_many(item: Reader) -> Reader:
    """Return the reader of an array of ``item``; the outcome is a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise expected("an array", value)
        items: list[Any] = []
        append = items.append
        try:
            for one in value:
                append(item(one))
        except Mismatch as error:
            error.steps.append(len(items))
            raise
        return tuple(items)

    return read


def _read_mapping(item: Reader) -> Reader:
    """Return the reader of an object whose members are all ``item``."""

    def read(value: Any) -> dict[str, Any]:
        members = {}
        for key, one in _read_object(value).items():
            try:
                members[key] = item(one)
            except Mismatch as error:
                error.steps.append(key)
                raise
        return members

    return read


def _read_constant(constant: str) -> Reader:
    def read(value: Any) -> str:
        if value == constant:
            return constant
        raise expected(repr(constant), value)

    return read


_SCALARS: dict[str, Reader] = {
    "str": _read_str,
    "bool": _read_bool,
    "int": _read_int,
    "float": _read_float,
    "RequestId": _read_id,
    "ProgressToken": _read_id,
    "Any": _read_any,
}

# A value of exactly this class needs no reader; all others take the slower way.
_EXACT: dict[str, type] = {"str": str, "bool": bool, "int": int, "Mapping[str, Any]": dict}

_UNIONS: dict[str, Reader] = {}


def union(name: str, read: Reader) -> None:
    """Let annotations say ``name`` for what ``read`` returns."""
    _UNIONS[name] = read


def tagged_union(name: str, *kinds: type[Model], unknown: type[Model]) -> Reader:
    """Let annotations say ``name`` for one of ``kinds``, told apart by ``type``, or else ``unknown``."""
    by_type = {kind._defaults["type"]: kind for kind in kinds}

    def read(value: Any) -> Model:
        # A missing, or unhashable, type is for `unknown` to complain about.
        tag = value.get("type") if isinstance(value, Mapping) else None
        return (by_type.get(tag, unknown) if isinstance(tag, str) else unknown)._read(value)

    union(name, read)
    return read


def _reader(annotation: str, module: str) -> Reader:
    """Return what reads a value for ``annotation``, as it is written in the source of ``module``."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation in _UNIONS:
        return _UNIONS[annotation]
    if annotation == "Mapping[str, Any]":
        return _read_object
    if annotation.startswith("Mapping[str, "):
        return _read_mapping(_reader(annotation[len("Mapping[str, ") : -1], module))
    if annotation.startswith("Sequence["):
        return read_many(_reader(annotation[len("Sequence[") : -1], module))
    if annotation.startswith("Literal["):
        return _read_constant(annotation[len('Literal["') : -len('"]')])
    model = getattr(sys.modules[module], annotation, None)
    if isinstance(model, type) and issubclass(model, Model):
        return model._read
    raise TypeError(f"{module} uses the annotation {annotation!r}, which models cannot read")


# How one member of the JSON object becomes one field: the field's name, the class of value that needs no reader, the
# reader, whether the member is required, and whether the field can hold None. (A NamedTuple takes 0.2 ms to define.)
_Member = tuple[str, "type | None", Reader, bool, bool]


class _Shape:
    """What a model class needs to read and write itself; derived from its annotations once."""

    __slots__ = ("always", "deep", "members", "required", "wire_names")

    def __init__(self, cls: type[Model]) -> None:
        members: dict[str, _Member] = {}
        self.always: dict[str, Any] = {}  # wire name -> the default that is written even if nobody set it
        self.wire_names: dict[str, str] = {}  # field -> wire name
        self.deep: set[str] = set()  # fields that may hold models
        for owner in reversed(cls.__mro__):
            if not issubclass(owner, Model) or owner is Model:
                continue
            for name, annotation in owner.__annotations__.items():
                if name not in cls._fields or str(annotation).startswith("ClassVar"):
                    continue
                wire = cls._renamed.get(name) or _camel_case(name)
                kind = annotation.removesuffix(" | None")
                always = name in cls._always or kind.startswith("Literal[")
                members[wire] = (
                    name,
                    _EXACT.get(kind),
                    _reader(kind, owner.__module__),
                    always or name in cls._required,
                    annotation.endswith(" | None") or kind == "Any",
                )
                self.wire_names[name] = wire
                if always:
                    self.always[wire] = cls._defaults[name]
                if kind not in _SCALARS and kind != "Mapping[str, Any]":  # else there is nothing to turn
                    self.deep.add(name)
        self.members = members
        self.required = frozenset([name for name, _, _, required, _ in members.values() if required])


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Model(Record, kw_only=True):
    """A JSON object of the protocol.

    Attributes:
        extra: Members that this version does not know, by their names on the wire.
    """

    extra: Mapping[str, Any] = EMPTY

    # Fields with a default that are on the wire always: required when read, and written even if nobody set
    # them.
    _always: ClassVar[tuple[str, ...]] = ()
    # Fields that only help: a value of another kind is as good as none, and stays in ``extra``.
    _hints: ClassVar[frozenset[str]] = frozenset()
    # Fields whose name on the wire is not the mechanical camelCase.
    _renamed: ClassVar[dict[str, str]] = {"meta": "_meta"}

    @classmethod
    def from_wire(cls, value: Mapping[str, Any]) -> Self:
        """Read a JSON object.

        Raises:
            InvalidResult: It is not of this shape; the message names the place, what was expected and what
                came.
        """
        try:
            return cls._read(value)
        except Mismatch as error:
            raise InvalidResult(error.describe(cls.__name__), result=value) from None

    @classmethod
    def _shape(cls) -> _Shape:
        shape: _Shape | None = cls.__dict__.get("_shape_made")
        if shape is None:
            # Two threads may both get here: they make the same thing, and either may stay.
            shape = _Shape(cls)
            type.__setattr__(cls, "_shape_made", shape)
        return shape

    @classmethod
    def _read(cls, value: Any) -> Self:
        """Do the work of :meth:`from_wire`, on the inside, where errors still gather their path."""
        if not isinstance(value, Mapping):
            raise expected("an object", value)
        try:
            shape: _Shape = cls.__dict__["_shape_made"]
        except KeyError:
            shape = cls._shape()
        member_of = shape.members.get
        self = cls.__new__(cls)
        fields = self.__dict__
        extra = {}
        for key, item in value.items():
            member = member_of(key)
            if member is None:
                extra[key] = item
                continue
            name, exact, read, required, nullable = member
            if item.__class__ is exact or read is _read_any:
                fields[name] = item
            elif item is None and not required:
                if nullable:
                    fields[name] = None
                else:
                    # The field cannot say null: its default stands, and the null is kept to be written back.
                    extra[key] = None
            elif item is None and nullable:
                fields[name] = None
            else:
                try:
                    fields[name] = read(item)
                except Mismatch as error:
                    if name in cls._hints:
                        extra[key] = item
                        continue
                    error.steps.append(key)
                    raise
        if not fields.keys() >= shape.required:
            required_names = [(key, member[0]) for key, member in shape.members.items() if member[3]]
            absent = next(key for key, name in required_names if name not in fields)
            raise Mismatch("is missing", absent)
        if extra:
            fields["extra"] = extra
        return self

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object. Fields at their default are left out, unless the wire had them."""
        shape = self._shape()
        wire: dict[str, Any] = dict(shape.always)
        wire_names = shape.wire_names
        deep = shape.deep
        for name, value in self.__dict__.items():
            if name in deep:
                wire[wire_names[name]] = _dump(value)
            elif name != "extra":
                wire[wire_names[name]] = value
        for key, value in self.extra.items():
            wire.setdefault(key, value)  # a field wins over what came beside it
        return wire

    def __post_init__(self) -> None:
        # People write lists; a frozen value holds tuples.
        fields = self.__dict__
        for name, value in fields.items():
            if value.__class__ is list and self._fields[name].startswith("Sequence["):
                fields[name] = tuple(value)

    def _repr_value(self, name: str, value: Any) -> str:
        if name == "extra":
            return f"<{', '.join(map(repr, value))}>"  # names only: what is unknown may be large
        return super()._repr_value(name, value)


class MetaModel(Model, kw_only=True):
    """A JSON object with ``_meta``.

    Attributes:
        meta: Free-form data about the object. Do not rely on what stands at names that the protocol reserves.
    """

    meta: Mapping[str, Any] = EMPTY


class Result(MetaModel, kw_only=True):
    """What a request gave back.

    Attributes:
        result_type: ``"complete"`` also if None, which is how servers before 2026-07-28 say it.
    """

    result_type: str | None = None


class CacheableResult(Result, kw_only=True):
    """A result that may be kept for a while (since 2026-07-28, server/utilities/caching).

    Attributes:
        ttl_ms: Milliseconds for which the server takes it to be fresh; nothing if None, zero or less.
        cache_scope: ``"public"`` if it is the same for everybody; else it is for whoever asked.
    """

    _hints = frozenset(("ttl_ms", "cache_scope"))

    ttl_ms: float | None = None
    cache_scope: str | None = None


class Page(CacheableResult, Generic[T], kw_only=True):
    """One page of a list.

    Attributes:
        next_cursor: What to ask for the next page with, or None at the end. Opaque, and valid in this session
            only. "An empty string is a valid cursor and thus MUST NOT be treated as the end of results." MCP
            2026-07-28, server/utilities/pagination.
    """

    next_cursor: str | None = None

    @property
    def items(self) -> Sequence[T]:
        """What the page lists, whatever the field is called."""
        raise NotImplementedError


def _dump(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_wire()
    if isinstance(value, (tuple, list)):
        return [_dump(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _dump(item) for key, item in value.items()}
    return value


def shorten(data: str) -> str:
    """Return how base64 data is shown: by size alone."""
    return f"<{len(data)} base64 characters>"
