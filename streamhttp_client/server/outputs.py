"""What a tool promises of its structured results, and whether it keeps it."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from typing import Any

from .schemas import check_value

__all__ = ["output_check", "output_schema"]


def output_schema(returns: Any) -> dict[str, Any] | None:
    """The schema of a result with fields (a dataclass, ``TypedDict`` or msgspec ``Struct``), or None for all
    others.

    None too without msgspec. "outputSchema … type: object" (MCP 2025-11-25, server/tools), so other types
    have none.
    """
    if hasattr(returns, "to_wire"):
        return None  # content, not data
    if not (
        hasattr(returns, "__dataclass_fields__")
        or typing.is_typeddict(returns)
        or hasattr(returns, "__struct_fields__")
    ):
        return None
    try:
        import msgspec
    except ImportError:
        return None
    try:
        (top,), definitions = msgspec.json.schema_components([returns], ref_template="#/$defs/{name}")
    except (TypeError, ValueError):
        return None
    name = top["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = dict(definitions[name])
    if json.dumps(top["$ref"]) not in json.dumps(definitions):
        del definitions[name]  # else it refers to itself
    if definitions:
        schema["$defs"] = definitions
    return schema if schema.get("type") == "object" else None


def output_check(returns: Any, schema: Mapping[str, Any] | None, *, derived: bool) -> Callable[[Any], None]:
    """Return what raises ``ValueError`` if structured content is not what was promised; clients check it too."""
    if schema is None:
        return lambda data: None
    if not derived:
        return lambda data: check_value(data, schema)
    import msgspec

    def check(data: Any) -> None:
        msgspec.convert(data, returns, str_keys=True)  # JSON knows no other keys

    return check
