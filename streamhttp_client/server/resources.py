"""Resources: what a client may read by URI, single ones and whole families by template."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import LocalProtocolError, ResourceNotFound, RPCError
from ..protocol.names import RESOURCE_NOT_FOUND
from .arguments import ArgumentError, read_signature
from .calls import Call
from .context import Context
from .hints import doc_of, refuse_async
from .pages import Listing, cache_hints, listed
from .results import Blob, plain
from .templates import MAX_URI, Template

__all__ = ["Resource", "Resources"]

# Subscriptions of one session, and characters of their URIs; each is a field that the store keeps.
_MAX_SUBSCRIPTIONS = 1000
_MAX_SUBSCRIBED_URI = 2048


_is_uri = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\0-\x1f\x7f]*").fullmatch


class Resource:
    """One registered resource, or a :class:`Template` of many."""

    def __init__(
        self,
        function: Callable[..., Any],
        uri: str,
        *,
        name: str,
        title: str | None,
        description: str | None,
        media_type: str | None,
        annotations: Mapping[str, Any] | None,
        size: int | None,
        ttl: float = 0.0,
        cache_scope: str = "private",
    ) -> None:
        if not isinstance(uri, str) or not _is_uri(uri):
            # Some clients check it, and would refuse the whole list.
            raise LocalProtocolError(f"a resource needs a URI with a scheme, as 'config://app', got {uri!r:.100}")
        self.uri = uri
        self.hints = cache_hints(ttl, cache_scope)
        self.media_type = media_type
        self._function = function
        refuse_async(function)
        self._signature = read_signature(function, Context, texts=True)
        self._template = Template(uri)
        variables = self._template.variables
        self.is_template = bool(variables)
        if set(self._signature.names) != set(variables):
            raise LocalProtocolError(
                f"the parameters of {name}() must be the variables of {uri!r}, got {self._signature.names}"
            )
        self._wire = listed(
            f"resource {uri!r:.100}",
            **{"uriTemplate" if variables else "uri": uri},
            name=name,
            title=title,
            description=doc_of(function) if description is None else description,
            mimeType=media_type,
            annotations=annotations,
            size=size,
        )

    @property
    def wants_context(self) -> bool:
        return self._signature.context is not None

    def to_wire(self) -> dict[str, Any]:
        return self._wire

    def match(self, uri: str) -> dict[str, str] | None:
        """The variables of a URI, or None if it is not of this template."""
        return self._template.match(uri)

    def read(self, call: Call, uri: str, variables: Mapping[str, str]) -> dict[str, Any]:
        try:
            values = self._signature.convert(variables)
        except ArgumentError as error:
            # The template with these values names nothing.
            raise ResourceNotFound(f"resource not found: {error}", code=RESOURCE_NOT_FOUND, data={"uri": uri}) from None
        if self._signature.context is not None:
            values[self._signature.context] = Context(call)
        return {"contents": _contents(self._function(**values), uri, self.media_type)}


def _contents(value: Any, uri: str, media_type: str | None) -> list[dict[str, Any]]:
    if isinstance(value, (list, tuple)) and value and all(_is_contents(item) for item in value):
        return [plain(item) for item in value]
    if _is_contents(value):
        return [plain(value)]
    wire: dict[str, Any] = {"uri": uri}
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = Blob(bytes(value), media_type or "application/octet-stream")
    if isinstance(value, Blob):
        return [wire | {"mimeType": value.media_type, "blob": value.base64}]
    if not isinstance(value, str):
        value, media_type = json.dumps(plain(value), ensure_ascii=False), media_type or "application/json"
    if media_type is not None:
        wire["mimeType"] = media_type
    return [wire | {"text": value}]


def _is_contents(value: Any) -> bool:
    if hasattr(value, "to_wire") and not isinstance(value, Blob):
        value = value.to_wire()
    return isinstance(value, Mapping) and "uri" in value and ("text" in value or "blob" in value)


def _need_session(call: Call) -> None:
    if call.session.session_id is None:
        # As the capabilities say; "{}" would be a promise.
        raise RPCError("there are no subscriptions without a session", code=jsonrpc.METHOD_NOT_FOUND)


class Resources:
    """All resources of one server, and the methods that the client calls."""

    def __init__(self, page_size: int | None) -> None:
        self._single: Listing[Resource] = Listing("resources", page_size)
        self._templates: Listing[Resource] = Listing("resourceTemplates", page_size)

    def __len__(self) -> int:
        return len(self._single) + len(self._templates)

    def add(self, resource: Resource) -> None:
        (self._templates if resource.is_template else self._single).add(resource.uri, resource)

    def remove(self, uri: str) -> None:
        (self._single if self._single.get(uri) is not None else self._templates).remove(uri)

    def list(self, call: Call) -> dict[str, Any]:
        return self._single.page(call.params)

    def list_templates(self, call: Call) -> dict[str, Any]:
        return self._templates.page(call.params)

    def wants_stream(self, params: Mapping[str, Any]) -> bool:
        found = self._find(params.get("uri"))
        return found is not None and found[0].wants_context

    def has(self, uri: str) -> bool:
        """Whether there is a resource at a URI, or a template that it is of."""
        return self._find(uri) is not None

    def hints(self, uri: Any) -> tuple[int, str]:
        """How long what was read may be kept, in milliseconds, and by whom."""
        found = self._find(uri)
        return (0, "private") if found is None else found[0].hints

    def read(self, call: Call) -> dict[str, Any]:
        uri = self._uri(call)
        found = self._find(uri)
        if found is None:
            raise ResourceNotFound("resource not found", code=RESOURCE_NOT_FOUND, data={"uri": uri})
        return found[0].read(call, uri, found[1])

    def subscribe(self, call: Call) -> dict[str, Any]:
        _need_session(call)
        uri = self._uri(call)
        if self._find(uri) is None:
            raise ResourceNotFound("resource not found", code=RESOURCE_NOT_FOUND, data={"uri": uri})
        if len(uri) > _MAX_SUBSCRIBED_URI:
            problem = f"a subscribed 'uri' must have at most {_MAX_SUBSCRIBED_URI} characters"
            raise RPCError(problem, code=jsonrpc.INVALID_PARAMS)
        if len(call.session.subscriptions) >= _MAX_SUBSCRIPTIONS:
            raise RPCError(f"{_MAX_SUBSCRIPTIONS} subscriptions are the most", code=jsonrpc.INVALID_PARAMS)
        call.update_session({f"subscribed:{uri}": True})
        return {}

    def unsubscribe(self, call: Call) -> dict[str, Any]:
        _need_session(call)
        call.update_session({f"subscribed:{self._uri(call)}": None})
        return {}

    def _uri(self, call: Call) -> str:
        uri = call.params.get("uri")
        if not isinstance(uri, str):
            raise RPCError("'uri' must be a string", code=jsonrpc.INVALID_PARAMS)
        if len(uri) > MAX_URI:
            raise RPCError(f"'uri' must have at most {MAX_URI} characters", code=jsonrpc.INVALID_PARAMS)
        return uri

    def _find(self, uri: Any) -> tuple[Resource, Mapping[str, str]] | None:
        if not isinstance(uri, str) or len(uri) > MAX_URI:
            return None
        if (resource := self._single.get(uri)) is not None:
            return resource, {}
        for template in self._templates.values():
            if (variables := template.match(uri)) is not None:
                return template, variables
        return None
