"""Frozen dataclasses that cost nothing to import.

``import dataclasses`` takes about 10 ms, because it pulls in ``inspect``, and each ``@dataclass`` about 1 ms
more, because it compiles methods as text. That is more than all the rest of this package, and a script that
calls one tool would pay it for every shape of the protocol. A :class:`Record` is the same thing to every
observer (type checkers, ``dataclasses.fields``, ``replace``, ``asdict``, ``inspect.signature``, ``match``,
``pickle``), but its methods are shared, and what ``dataclasses`` wants to see is built when it first looks.

Invariants:

- Values live in the instance's ``__dict__``. A field that was not given, or given as its default, is absent
  there and is read from the class, where the default is an ordinary attribute.
- Nothing here imports ``dataclasses`` or ``inspect`` before somebody asks for what only they can answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dataclasses import Field

    from typing_extensions import Never, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        """Do nothing: type checkers alone read this (PEP 681)."""
        return lambda cls: cls


__all__ = ["EMPTY", "FrozenDict", "Record"]


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed, so that all instances can share it as a default.

    Its values must be immutable too.

    It is a dict, so that ``json`` and ``dataclasses.asdict`` take it, and hashable, so that an otherwise
    hashable record stays so. (A ``MappingProxyType`` can be neither serialised, pickled nor deep-copied.)
    """

    def _refuse(self, *_: Any, **__: Any) -> Never:
        raise TypeError("this mapping is a shared default and cannot be changed; use dataclasses.replace")

    __setitem__ = __delitem__ = __ior__ = setdefault = update = pop = popitem = clear = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


EMPTY: Mapping[str, Any] = FrozenDict()
"""The default for a field that holds a mapping."""


class _Lazy:
    """A class attribute that ``dataclasses`` or ``inspect`` looks up, built on first access."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type[Record]) -> Any:
        if self._name == "__signature__":
            if owner.__init__ is not Record.__init__:
                raise AttributeError(self._name)  # a hand-written constructor speaks for itself
            import inspect

            return inspect.signature(_twin(owner))
        return getattr(_twin(owner), self._name)


def _same(value: Any) -> Any:
    return value


def _twin(cls: type[Record]) -> type:
    """Return a real dataclass with the same fields as ``cls``; kept on ``cls``."""
    twin: type | None = cls.__dict__.get("_twin")
    if twin is None:
        from dataclasses import field, make_dataclass
        from functools import partial

        positional = set(cls._positional)
        specs: list[tuple[str, Any, Any]] = []
        for name, annotation in cls._fields.items():
            options: dict[str, Any] = {"kw_only": name not in positional}
            if name in cls._defaults:
                default = cls._defaults[name]
                if isinstance(default, dict):  # Python 3.10 refuses any dict, also a hashable one
                    options["default_factory"] = partial(_same, default)
                else:
                    options["default"] = default
            specs.append((name, annotation, field(**options)))
        twin = make_dataclass(cls.__name__, specs, frozen=True)
        # Two threads may both get here: they build the same thing, and either may stay.
        type.__setattr__(cls, "_twin", twin)
    return twin


@dataclass_transform(frozen_default=True)
class Record:
    """Base of frozen value classes: subclass it and write annotations, as for a dataclass.

    Fields are positional, in order, base classes first; those of a class made with ``kw_only=True`` are
    keyword-only. Defaults must be immutable: ``None``, a tuple, :data:`EMPTY`. A ``__post_init__`` runs after
    construction. Modules that define records need ``from __future__ import annotations``.

    Instances compare by type and field values, hash if their values do, and refuse assignment with
    :class:`dataclasses.FrozenInstanceError`. Threads may share them.
    """

    _fields: ClassVar[dict[str, Any]] = {}  # name -> annotation as written, in order
    _defaults: ClassVar[dict[str, Any]] = {}
    _required: ClassVar[frozenset[str]] = frozenset()
    _post_init: ClassVar[bool] = False
    _positional: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _Lazy()
        __dataclass_params__ = _Lazy()
        __signature__ = _Lazy()

        # Hidden from type checkers, which make a constructor with the true signature for each subclass.
        def __init__(self, *args, **values):
            cls = self.__class__
            if args:
                names = cls._positional
                if len(args) > len(names):
                    raise TypeError(
                        f"{cls.__name__} takes at most {len(names)} positional arguments, got {len(args)}"
                    )
                for name, value in zip(names, args, strict=False):
                    if name in values:
                        raise TypeError(f"{cls.__name__} got {name!r} twice")
                    values[name] = value
            given = values.keys()
            if not given <= cls._fields.keys():
                unknown = ", ".join(map(repr, sorted(given - cls._fields.keys())))
                raise TypeError(f"{cls.__name__} has no field {unknown}")
            if not given >= cls._required:
                missing = ", ".join(repr(name) for name in cls._fields if name in cls._required - given)
                raise TypeError(f"{cls.__name__} needs {missing}")
            stored = self.__dict__
            default_of = cls._defaults.get
            for name, value in values.items():
                if value is not default_of(name, stored):
                    stored[name] = value
            if cls._post_init:
                self.__post_init__()

    def __init_subclass__(cls, *, kw_only: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        fields: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        positional: dict[str, None] = {}
        # Each record already sums up its own bases, so a single one says all; of several, the later wins.
        for base in cls.__bases__ if len(cls.__bases__) == 1 else reversed(cls.__mro__[1:]):
            if issubclass(base, Record):
                fields.update(base._fields)
                defaults.update(base._defaults)
                positional.update(dict.fromkeys(base._positional))
        namespace = cls.__dict__
        for name, annotation in cls.__annotations__.items():
            if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
                continue
            fields[name] = annotation
            if kw_only:
                positional.pop(name, None)
            else:
                positional[name] = None
            if name in namespace:
                default = namespace[name]
                if default.__class__.__hash__ is None:
                    raise TypeError(f"{cls.__name__}.{name} has a mutable default; use () or FrozenDict")
                defaults[name] = default
            else:
                defaults.pop(name, None)
        optional = ""
        for name in positional:
            if name in defaults:
                optional = name
            elif optional:
                raise TypeError(f"{cls.__name__}.{name} has no default but follows {optional}, which has one")
        cls._fields = fields
        cls._defaults = defaults
        cls._required = frozenset(fields.keys() - defaults.keys())
        cls._post_init = hasattr(cls, "__post_init__")
        cls._positional = tuple(positional)
        # Not by assignment: mypy derives its own for a dataclass, and takes it for read-only.
        type.__setattr__(cls, "__match_args__", cls._positional)

    def __repr__(self) -> str:
        """Show required fields, and others that are not at their default."""
        parts = []
        defaults = self._defaults
        keyword_only = [name for name in self._fields if name not in self._positional]
        for name in (*self._positional, *keyword_only):
            value = getattr(self, name)
            if name not in defaults or value is not defaults[name] and value != defaults[name]:
                parts.append(f"{name}={self._repr_value(name, value)}")
        return f"{self.__class__.__qualname__}({', '.join(parts)})"

    def _repr_value(self, name: str, value: Any) -> str:
        """Return how one field is shown. For subclasses with fields that are large, many or secret."""
        return repr(value)

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._fields])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other.__class__ is not self.__class__:
            return NotImplemented
        # A default may also have been stored, by equal value; so what differs here may still be the same.
        return self.__dict__ == other.__dict__ or self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: Any) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __replace__(self, /, **changes: Any) -> Self:
        """Return a copy with ``changes``; what ``copy.replace`` calls (Python 3.13)."""
        return self.__class__(**{name: getattr(self, name) for name in self._fields} | changes)
