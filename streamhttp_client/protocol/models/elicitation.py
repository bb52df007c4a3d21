"""Elicitation: a server asks the user for values (form), or to visit a page (url)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from ...exceptions import InvalidResult
from .base import MetaModel, Model, describe, union
from .tasks import TaskMetadata

__all__ = [
    "BooleanSchema",
    "Choice",
    "ChoiceItems",
    "ChoiceSchema",
    "ElicitFormParams",
    "ElicitParams",
    "ElicitResult",
    "ElicitURLParams",
    "ElicitationSchema",
    "MultiChoiceSchema",
    "NumberSchema",
    "PrimitiveSchema",
    "StringSchema",
    "UnknownSchema",
    "fill_defaults",
    "parse_elicitation",
    "parse_url_elicitations",
]


class StringSchema(Model):
    """A field for text.

    Attributes:
        format: ``"email"``, ``"uri"``, ``"date"`` or ``"date-time"``.
    """

    title: str | None = None
    description: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    format: str | None = None
    default: str | None = None
    type: Literal["string"] = "string"


class NumberSchema(Model):
    """A field for a number.

    Attributes:
        type: ``"number"`` or ``"integer"``.
    """

    type: str
    title: str | None = None
    description: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    default: float | None = None


class BooleanSchema(Model):
    """A field for yes or no."""

    title: str | None = None
    description: str | None = None
    default: bool | None = None
    type: Literal["boolean"] = "boolean"


class Choice(Model):
    """One of the values to choose from.

    Attributes:
        const: The value to send.
        title: The words to show.
    """

    const: str
    title: str


class ChoiceSchema(Model):
    """A field for one value of a list. On the wire the list comes in one of three forms; see :attr:`choices`.

    Attributes:
        enum: The values, without titles.
        enum_names: Their titles, in the form of 2025-06-18.
        one_of: The values with titles, in the form of 2025-11-25.
    """

    title: str | None = None
    description: str | None = None
    enum: Sequence[str] = ()
    enum_names: Sequence[str] = ()
    one_of: Sequence[Choice] = ()
    default: str | None = None
    type: Literal["string"] = "string"

    @property
    def choices(self) -> Sequence[Choice]:
        """The values with titles, whatever form they came in; a value without a title is its own."""
        if self.one_of:
            return self.one_of
        titles = self.enum_names if len(self.enum_names) == len(self.enum) else self.enum
        return tuple([Choice(value, title) for value, title in zip(self.enum, titles, strict=True)])


class ChoiceItems(Model):
    """The list of a :class:`MultiChoiceSchema`.

    Attributes:
        enum: The values, without titles; then ``type`` is ``"string"``.
        any_of: The values with titles.
    """

    enum: Sequence[str] = ()
    any_of: Sequence[Choice] = ()
    type: str | None = None


class MultiChoiceSchema(Model):
    """A field for several values of a list (2025-11-25).

    Attributes:
        items: The list, as on the wire; see :attr:`choices`.
        min_items: How many must be chosen.
        max_items: How many may be.
    """

    items: ChoiceItems
    title: str | None = None
    description: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    default: Sequence[str] = ()
    type: Literal["array"] = "array"

    @property
    def choices(self) -> Sequence[Choice]:
        """The values with titles; a value without a title is its own."""
        return self.items.any_of or tuple([Choice(value, value) for value in self.items.enum])


class UnknownSchema(Model):
    """A field of a kind that this version does not know; its schema is in ``extra``."""


PrimitiveSchema: TypeAlias = (
    StringSchema
    | NumberSchema
    | BooleanSchema
    | ChoiceSchema
    | MultiChoiceSchema
    | UnknownSchema
)
"""The schema of one field of a form."""


def _read_primitive(value: Any) -> PrimitiveSchema:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "string":
        return ChoiceSchema._read(value) if "enum" in value or "oneOf" in value else StringSchema._read(value)
    if kind == "number" or kind == "integer":
        return NumberSchema._read(value)
    if kind == "boolean":
        return BooleanSchema._read(value)
    if kind == "array" and "items" in value:
        return MultiChoiceSchema._read(value)
    return UnknownSchema._read(value)


union("PrimitiveSchema", _read_primitive)


class ElicitationSchema(Model):
    """The form: a flat object.

    Attributes:
        properties: Field name to its schema, in the order to show.
        required: Names of the fields that must be filled.
        schema: The dialect (``$schema``).
    """

    _renamed = {"schema": "$schema"}

    properties: Mapping[str, PrimitiveSchema]
    required: Sequence[str] = ()
    schema: str | None = None
    type: Literal["object"] = "object"


class ElicitFormParams(MetaModel):
    """The server asks the user to fill in a form.

    Attributes:
        message: What to say to the user. Say also which server asks, and let the user decline.
        requested_schema: The form.
        task: The server wants this run as a task.
    """

    message: str
    requested_schema: ElicitationSchema
    mode: str = "form"
    task: TaskMetadata | None = None


class ElicitURLParams(MetaModel):
    """The server asks the user to visit a page, for what must not pass through the client.

    A client "MUST NOT automatically pre-fetch the URL or any of its metadata", must show it whole, and must
    open it only when the user agreed. MCP 2025-11-25, client/elicitation, safe URL handling.

    Attributes:
        message: Why.
        url: The page, as the server wrote it.
        elicitation_id: What a later ``notifications/elicitation/complete`` names; not sent since 2026-07-28.
        task: The server wants this run as a task.
    """

    message: str
    url: str
    elicitation_id: str | None = None
    task: TaskMetadata | None = None
    mode: Literal["url"] = "url"

    @property
    def host(self) -> str:
        """The host to show with emphasis; empty if the URL has none that can be told."""
        from urllib.parse import urlsplit

        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:
            return ""

    @property
    def is_suspicious(self) -> bool:
        """Warn the user: the host may look like another (not ASCII, or Punycode), or there is none."""
        host = self.host
        return not host or not host.isascii() or any(label.startswith("xn--") for label in host.split("."))


ElicitParams: TypeAlias = ElicitFormParams | ElicitURLParams


class ElicitResult(MetaModel):
    """What the user did.

    Attributes:
        action: ``"accept"``, ``"decline"`` (said no) or ``"cancel"`` (went away).
        content: Field name to value, for an accepted form.
    """

    action: str
    content: Mapping[str, Any] | None = None


def parse_elicitation(params: Mapping[str, Any]) -> ElicitParams:
    """Read the parameters of ``elicitation/create``.

    "For backwards compatibility, servers MAY omit the mode field for form mode elicitation requests. Clients
    MUST treat requests without a mode field as form mode." MCP 2025-11-25, client/elicitation.

    Raises:
        InvalidResult: They are of neither shape; the error to answer with is -32602.
    """
    mode = params.get("mode", "form")
    if mode == "form":
        return ElicitFormParams.from_wire(params)
    if mode == "url":
        return ElicitURLParams.from_wire(params)
    raise InvalidResult(f"mode must be 'form' or 'url', got {describe(mode)}", result=params)


def parse_url_elicitations(data: Any) -> Sequence[ElicitURLParams]:
    """Read the pages that ``URLElicitationRequired.data`` lists (error -32042, 2025-11-25).

    Raises:
        InvalidResult: ``data`` is not of the shape that the error promises.
    """
    return _URLElicitations.from_wire(data).elicitations


class _URLElicitations(Model):
    elicitations: Sequence[ElicitURLParams]


def fill_defaults(
    schema: ElicitationSchema | Mapping[str, Any], content: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return ``content`` with the defaults of ``schema`` for the fields that it does not have.

    A default that its own schema would not allow (a wrong kind, or not among the choices) is left out.
    """
    form = schema if isinstance(schema, ElicitationSchema) else ElicitationSchema.from_wire(schema)
    filled = dict(content or {})
    for name, field in form.properties.items():
        if name in filled:
            continue
        if isinstance(field, UnknownSchema):
            default = field.extra.get("default")
        else:
            default = field.default
        if isinstance(field, MultiChoiceSchema):
            # Said and empty is a value; not said is not.
            allowed = {choice.const for choice in field.choices}
            if "default" in field.__dict__ and allowed.issuperset(field.default):
                filled[name] = list(field.default)
        elif default is None:
            continue
        elif isinstance(field, ChoiceSchema):
            if default in [choice.const for choice in field.choices]:
                filled[name] = default
        elif not (isinstance(field, NumberSchema) and field.type == "integer" and default % 1):
            filled[name] = default
    return filled


