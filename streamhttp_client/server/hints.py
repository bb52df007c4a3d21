"""What can be learnt of a handler before it is called: its name, its text, its type hints.

A handler may be a function, a method, a ``functools.partial``, a class or an object that can be called. The hints come
out the same in all versions of Python: 3.10 makes ``Annotated[int, "…"] = None`` an ``Optional`` around the text, and
later versions leave the None out.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union

from ..exceptions import LocalProtocolError

__all__ = [
    "Header",
    "annotated",
    "doc_of",
    "is_context",
    "is_self",
    "name_of",
    "parameter_hint",
    "read_hints",
    "refuse_async",
    "shown",
]


class Header:
    """``Annotated[str, Header("Region")]`` on a parameter of a tool: clients repeat the argument in the HTTP header
    ``Mcp-Param-Region``, so that gateways can route by it (since 2026-07-28). It must be a string, an integer or a
    boolean.
    """

    def __init__(self, name: str) -> None:
        if "_" in name:
            # nginx and gunicorn, for two, take a header with one for an attempt to pass for another.
            raise LocalProtocolError(f"many servers drop headers with an underscore, got {name!r}")
        self.name = name


def _inner(function: Any) -> Any:
    """What was written with ``def`` or ``class``, below partials and decorators."""
    while True:
        function = inspect.unwrap(function)
        if not isinstance(function, functools.partial):
            return function
        function = function.func


def name_of(function: Any, given: str | None = None) -> str:
    """The name under which a handler is registered.

    Raises:
        LocalProtocolError: It cannot be called, or has no name of its own and none was given.
    """
    if not callable(function):
        raise LocalProtocolError(f"a handler must be a function, got {function!r:.100}")
    if given is not None:
        return given
    own = getattr(function, "__name__", None)
    if not isinstance(own, str):
        raise LocalProtocolError(f"{function!r:.100} has no name of its own, so give one")
    return own


def doc_of(function: Any) -> str | None:
    """The docstring of a handler, without its indentation."""
    if isinstance(function, functools.partial):
        function = _inner(function)  # that of ``partial`` itself says nothing of what it does
    return inspect.getdoc(function)


def shown(function: Any) -> str:
    """What a handler is called in errors."""
    inner = _inner(function)
    return str(getattr(inner, "__name__", None) or type(inner).__name__)


def refuse_async(function: Callable[..., Any], *, generators: bool = False) -> None:
    """Refuse what gives a coroutine instead of a result, when it is registered.

    Args:
        generators: Let plain generators pass.

    Raises:
        LocalProtocolError: It is no plain function.
    """
    name = shown(function)
    # Of an object that can be called, the method tells.
    method: Any = type(function).__call__
    for part in (function, method):
        if inspect.iscoroutinefunction(part) or inspect.isasyncgenfunction(part):
            raise LocalProtocolError(f"{name}() is async, but handlers are plain blocking functions")
        if inspect.isgeneratorfunction(part) and not generators:
            raise LocalProtocolError(f"{name}() is a generator, which only a tool may be")


def read_hints(function: Callable[..., Any], known: type) -> dict[str, Any]:
    """The type hints of a handler's parameters, and of what it returns.

    Args:
        known: A class whose name may stand in the hints without being seen from there.

    Raises:
        LocalProtocolError: One of them names what cannot be found.
    """
    inner = _inner(function)
    holders = [inner]
    if inspect.isclass(inner):
        # What __init__ is generated from, and what was written there.
        holders.append(vars(inner).get("__init__"))
    elif not inspect.isroutine(inner):
        holders = [type(inner).__call__]  # an instance keeps its hints on the method
    found: dict[str, Any] = {}
    for holder in filter(None, holders):
        found |= _resolve(holder, known)
    if inspect.isclass(inner):
        found["return"] = inner
    return found


def _resolve(holder: Any, known: type) -> dict[str, Any]:
    with contextlib.suppress(NameError, SyntaxError, TypeError, AttributeError):
        return typing.get_type_hints(holder, include_extras=True)
    # A function made inside another does not see the names that were imported there; the most likely one is known.
    names = {known.__name__: known}
    try:
        return typing.get_type_hints(holder, localns=names, include_extras=True)
    except NameError as error:
        raise LocalProtocolError(
            f"{shown(holder)}(): {error.name!r} in a type hint cannot be found: is an import missing? Classes in hints"
            " belong to the top of a module"
        ) from error
    except (SyntaxError, TypeError, AttributeError) as error:  # a text that is no hint, for one
        raise LocalProtocolError(f"{shown(holder)}(): a type hint cannot be read: {error}") from error


def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The bare hint, and the extras of ``Annotated`` around it or inside an ``Optional``."""
    extras: tuple[Any, ...] = ()
    while typing.get_origin(hint) is Annotated:
        hint, *more = typing.get_args(hint)
        extras += tuple(more)
    options = _options(hint)
    others = [option for option in options if option is not type(None)]
    if len(others) == 1 and len(options) == 2 and typing.get_origin(others[0]) is Annotated:
        inner, more_extras = _parts(others[0])
        return _optional(inner), extras + more_extras
    return hint, extras


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else ()


def _optional(hint: Any) -> Any:
    # A forward reference, or a TypeVar, does not take "|" in all versions.
    return Union[hint, None]  # noqa: UP007


def parameter_hint(hint: Any, default: Any) -> Any:
    """The hint of a parameter in one form: extras around it, and None among its types if that is its default.

    Args:
        default: ``inspect.Parameter.empty`` if it has none.
    """
    bare, extras = _parts(hint)
    if default is None:
        if any(isinstance(extra, Header) for extra in extras):
            # A header cannot say null: the argument is there, or it is not.
            others = tuple(option for option in _options(bare) if option is not type(None))
            bare = Union[others] if others else bare  # noqa: UP007
        elif bare is not Any and bare is not type(None) and type(None) not in _options(bare):
            # ``rows: int = None`` is how it was long written, and models send the null that they see in the schema.
            bare = _optional(bare)
    return annotated(bare, extras)


def annotated(hint: Any, extras: tuple[Any, ...]) -> Any:
    """``Annotated[hint, *extras]``; just the hint if there are none."""
    # The subscript of a tuple that is made at run time; written with a star it would need Python 3.11.
    subscript: Any = operator.getitem
    return subscript(Annotated, (hint, *extras)) if extras else hint


def is_context(parameter: inspect.Parameter, hint: Any, context_type: type, name: str) -> bool:
    """Whether a parameter is filled in by the server.

    Raises:
        LocalProtocolError: It is, and cannot be passed by name.
    """
    bare, _ = _parts(hint)
    options = _options(bare)
    if bare is not context_type and not (options and set(options) == {context_type, type(None)}):
        return False
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise LocalProtocolError(f"{name}(): the context comes by name too, so {str(parameter)!r} cannot be filled")
    return True


def is_self(function: Any, parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether a function was registered inside its class, where it has no object yet."""
    first = next(iter(parameters.values()), None)
    return (
        first is not None
        and first.name in ("self", "cls")
        and first.annotation is first.empty
        and inspect.isfunction(_inner(function))
    )
