"""A file name from what a server says, that can do no harm in the folder it goes to."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

__all__ = ["name_for", "safe_name"]

# 255 bytes are the usual limit of a name; what we hang on to it (".part.json" and a token) must still fit.
_MAX_NAME_BYTES = 200
_FORBIDDEN = frozenset('<>:"|?*\\/')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$")
# RFC 6266, section 4.1, with the spaces and the unquoted values of real servers.
_PARAMETER = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')


def name_for(content_disposition: str | None, url: str) -> str:
    """The name for a download: from ``Content-Disposition`` (RFC 6266), else from the URL, else ``download``."""
    for name in (*_names_in(content_disposition or ""), unquote(urlsplit(url).path.rpartition("/")[2])):
        if safe := safe_name(name):
            return safe
    return "download"


def safe_name(name: str) -> str:
    """One harmless path component, or "" if nothing is left of it.

    "recipients MUST be able to ... only use the last path segment" (RFC 6266, section 4.3). Also no control or
    invisible characters, no hidden file, no device of Windows, no stream of NTFS, nothing that looks like our own
    partial file, and not too long; an extension stays.
    """
    last = re.split(r"[/\\]", name)[-1]
    text = "".join("_" if char in _FORBIDDEN or not char.isprintable() else char for char in last)
    text = text.strip().rstrip(". ")
    if text.startswith("."):
        text = "_" + text.lstrip(".")
    if not text.strip("_"):
        return ""
    if _DEVICES.match(text):
        text = "_" + text
    if re.search(r"(?i)\.part(\.json)?$", text):
        text += "_"
    stem, extension = os.path.splitext(text)
    if len(extension.encode("utf-8", "replace")) > 20:
        stem, extension = text, ""
    room = _MAX_NAME_BYTES - len(extension.encode("utf-8", "replace"))
    return stem.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + extension


def _names_in(value: str) -> list[str]:
    """The names that a Content-Disposition offers, the best first: ``filename*`` wins (RFC 6266, section 4.3)."""
    plain, extended = [], []
    for match in _PARAMETER.finditer(value):
        key, text = match[1].lower(), match[2].strip()
        if key == "filename*":
            charset, _, rest = text.strip('"').partition("'")
            coded = rest.partition("'")[2]
            if charset.lower() in ("utf-8", "iso-8859-1") and coded:
                extended.append(unquote_to_bytes(coded).decode(charset, "replace"))
        elif key == "filename":
            if text.startswith('"'):
                text = re.sub(r"\\(.)", r"\1", text[1:-1])
            try:  # fields are read as ISO-8859-1; who sends more than ASCII mostly means UTF-8
                text = text.encode("latin-1").decode("utf-8")
            except UnicodeError:
                pass
            plain.append(unquote(text) if "%" in text else text)
    return extended + plain
