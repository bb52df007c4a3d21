"""Answers to the forms that a handler shows to a user (``elicitation/create``), held against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schemas import SchemaError, check_value

__all__ = ["SchemaError", "read_form"]


def read_form(params: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer, with those fields only that the form has, if it has any.

    Nobody asked for the others, so no handler expects them; yet they are no reason to ask once more, since a schema
    allows what it does not name, unless it says ``additionalProperties``.

    Args:
        params: Of the question.
        answer: An ``ElicitResult`` on the wire, of the right shape.

    Raises:
        SchemaError: A field is missing, or holds what the form does not allow.
    """
    schema, content = params.get("requestedSchema"), answer.get("content")
    if answer.get("action") != "accept" or not isinstance(schema, Mapping):
        return answer
    # "Servers SHOULD validate received data matches the requested schema", client/elicitation
    check_value({} if content is None else content, schema)
    fields = schema.get("properties")
    if not isinstance(content, Mapping) or not isinstance(fields, Mapping) or not fields:
        return answer
    if content.keys() <= fields.keys() or {"additionalProperties", "patternProperties"} & schema.keys():
        return answer
    return {**answer, "content": {name: value for name, value in content.items() if name in fields}}
