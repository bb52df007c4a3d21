"""URI templates that can be read back: level 1 and one variable of level 2 of RFC 6570.

Matching takes time linear in the URI, whatever is in it: a variable ends where the text that follows it in
the template comes first, and no other place is tried. For variables without slashes none other has to be: a
longer one leaves less for the rest.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from ..exceptions import LocalProtocolError

__all__ = ["MAX_URI", "Template"]

# Bytes of a URI that a client sends; servers of HTTP take about as much.
MAX_URI = 8192

_VARIABLE = re.compile(r"\{(\+?)([A-Za-z_][A-Za-z0-9_]*)\}")


class Template:
    """A URI with ``{name}`` in it, or once ``{+name}``, which may have slashes.

    A value of ``{name}`` is one segment of a path also after it was decoded: with ``/`` or a backslash in it
    (``%2F``), a NUL, or as ``.`` or ``..``, it is no match, so that it can be made part of a file name.
    Nothing of that is true of ``{+name}``.

    Attributes:
        variables: Their names, in order.

    Raises:
        LocalProtocolError: A name is there twice, two variables touch, or more than one may have slashes.
    """

    def __init__(self, uri: str) -> None:
        parts = _VARIABLE.split(uri)
        self._texts, names = parts[::3], parts[2::3]
        self.variables = tuple(names)
        wide = [index for index, plus in enumerate(parts[1::3]) if plus]
        if any("{" in text for text in self._texts) or len(set(names)) != len(names):
            raise LocalProtocolError(f"a URI template may have each {{name}} or {{+name}} once, got {uri!r}")
        if len(wide) > 1 or not all(self._texts[1:-1]):
            raise LocalProtocolError(
                f"a URI template needs text between two variables, and one {{+name}} at most, got {uri!r}"
            )
        #: Index of the variable that may have slashes; those after it are looked for from the end.
        self._wide = wide[0] if wide else len(names)

    def match(self, uri: str) -> dict[str, str] | None:
        """The variables of a URI, decoded, or None if it is not of this template."""
        first, last = self._texts[0], self._texts[-1]
        if not self.variables:
            return {} if uri == first else None
        begin, end = len(first), len(uri) - len(last)
        if begin >= end or not uri.startswith(first) or not uri.endswith(last):
            return None
        values: dict[str, str] = {}
        # What is left for the last variable of this loop, or for the wide one, lies between begin and end.
        remaining = list(range(len(self.variables)))
        while len(remaining) > 1 and remaining[-1] > self._wide:
            index = remaining.pop()
            text = self._texts[index]
            at = uri.rfind(text, begin, end - 1)
            if at < 0:
                return None
            values[self.variables[index]] = uri[at + len(text) : end]
            end = at
        while len(remaining) > 1:
            index = remaining.pop(0)
            text = self._texts[index + 1]
            at = uri.find(text, begin + 1, end)
            if at < 0:
                return None
            values[self.variables[index]] = uri[begin:at]
            begin = at + len(text)
        values[self.variables[remaining[0]]] = uri[begin:end]
        wide = self.variables[self._wide] if self._wide < len(self.variables) else None
        decoded = {name: unquote(values[name]) for name in self.variables}
        if all(value and (name == wide or _is_segment(value)) for name, value in decoded.items()):
            return decoded
        return None


def _is_segment(value: str) -> bool:
    return value not in (".", "..") and not any(character in value for character in "/\\\0")
