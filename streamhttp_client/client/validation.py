"""Does a structured result fit the output schema that the tool declared?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..exceptions import InvalidResult

if TYPE_CHECKING:
    from ..protocol.models.tools import Tool, ToolResult

__all__ = ["OutputChecker"]

logger = logging.getLogger("streamhttp_client")

# A schema that took more than this to write down is there to keep us busy (MCP 2026-07-28, basic/index,
# "Composition-Keyword Resource Use", asks for a bound; the largest schema seen in the wild has some 400 subschemas).
_MAX_SUBSCHEMAS = 10_000
_MAX_DEPTH = 100
_MAX_VALIDATORS = 1000


class OutputChecker:
    """Checks results with jsonschema, if that is installed (extra ``[schema]``). Threads share it.

    JSON Schema 2020-12 is assumed where a schema says nothing; the dialects 2019-09, draft 7, 6, 4 and 3 are known too.
    References to other documents are never fetched: a schema that has one is refused.
    """

    def __init__(self) -> None:
        self._validators: dict[str, tuple[Any, Any]] = {}  # tool name -> (schema, validator)
        self._missing = False

    @property
    def available(self) -> bool:
        """Whether jsonschema is there; says so once in the log if it is not."""
        if self._missing:
            return False
        if find_spec("jsonschema") is None:  # importing it takes longer than a call, and is only needed for a schema
            self._missing = True
            logger.info("structured results are not checked; for it: pip install 'streamhttp-client[schema]'")
            return False
        return True

    def check(self, tool: Tool, result: ToolResult) -> None:
        """Raise InvalidResult if the result does not fit (MCP 2025-11-25, server/tools, Output Schema)."""
        schema = tool.output_schema
        if schema is None or result.is_error or not self.available:
            return
        if "structured_content" not in result.__dict__:
            raise InvalidResult(
                f"tool {tool.name!r} has an output schema, but its result has no structured content", result=result
            )
        import jsonschema

        try:
            validator = self._validator(tool.name, schema)
            error = jsonschema.exceptions.best_match(validator.iter_errors(result.structured_content))
        except InvalidResult as reason:  # of the schema; what the tool did is not to be lost for it
            reason.result = result
            raise
        except RecursionError:
            problem = f"the output schema of tool {tool.name!r} is nested too deeply"
            raise InvalidResult(problem, result=result) from None
        except Exception as reason:  # referencing wraps what it cannot resolve in a private class
            raise InvalidResult(
                f"the output schema of tool {tool.name!r} cannot be used: {reason}", result=result
            ) from reason
        if error is not None:
            place = error.json_path
            raise InvalidResult(
                f"the result of tool {tool.name!r} does not fit its output schema at {place}: {error.message:.200}",
                result=result,
            )

    def _validator(self, name: str, schema: Mapping[str, Any]) -> Any:
        known = self._validators.get(name)
        if known is None or known[0] is not schema:
            if len(self._validators) >= _MAX_VALIDATORS:  # of a server whose tools have ever new names
                self._validators.clear()
            known = self._validators[name] = (schema, _validator(name, schema))
        return known[1]


def _validator(name: str, schema: Mapping[str, Any]) -> Any:
    import jsonschema
    import referencing

    _bounded(name, schema)
    dialect = schema.get("$schema")
    if dialect is None:
        kind: Any = jsonschema.Draft202012Validator
    else:
        nothing: Any = None
        kind = jsonschema.validators.validator_for(schema, default=nothing) if isinstance(dialect, str) else None
        if kind is None:
            raise InvalidResult(f"the output schema of tool {name!r} is in an unknown dialect: {dialect!r:.80}")
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise InvalidResult(f"the output schema of tool {name!r} is no valid schema: {error.message:.200}") from error
    # An empty registry of our own: without it, jsonschema would fetch what a reference names.
    return kind(schema, registry=referencing.Registry())


def _bounded(name: str, schema: Any) -> None:
    count, level = 0, [schema]
    for _ in range(_MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                count += 1
                deeper += item.values()
            elif isinstance(item, list):
                deeper += item
        if count > _MAX_SUBSCHEMAS:
            break
        level = [item for item in deeper if isinstance(item, (Mapping, list))]
        if not level:
            return
    raise InvalidResult(
        f"the output schema of tool {name!r} is too large: more than {_MAX_SUBSCHEMAS} parts or {_MAX_DEPTH} levels"
    )
