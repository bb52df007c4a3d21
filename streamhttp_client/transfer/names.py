"""A file name from what a server says, that can do no harm in the folder it goes to; and names beside a file."""

from __future__ import annotations

import hashlib
import os
import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

__all__ = ["name_beside", "name_for", "safe_name"]

# 255 bytes are the usual limit of a name; what we hang on to it (".part.json" and a token) must still fit.
_MAX_NAME_BYTES = 200
_FORBIDDEN = frozenset('<>:"|?*\\/')
# "Reserved names ... followed immediately by an extension" too, and Windows drops spaces before the dot; it takes the
# superscript digits for digits (Naming Files, Paths, and Namespaces).
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\..*)?$")
# What most file systems take, in bytes, and the longest that is hung on to a name here: ".<8 digits>.part.json.<8>".
_LONGEST_NAME = 255
_LONGEST_SUFFIX = 28
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
    invisible characters, no hidden file, no option of a command, no device of Windows, no stream of NTFS, nothing that
    looks like our own partial file, and not too long; an extension stays.
    """
    last = re.split(r"[/\\]", name)[-1]
    text = "".join("_" if char in _FORBIDDEN or not char.isprintable() else char for char in last)
    text = text.strip().rstrip(". ")
    if text.startswith("."):
        text = "_" + text.lstrip(".")
    if not text.strip("_"):
        return ""
    if text.startswith("-") or _DEVICES.match(text):
        text = "_" + text
    if re.search(r"(?i)\.part(\.json)?$", text):
        text += "_"
    stem, extension = os.path.splitext(text)
    if len(extension.encode("utf-8", "replace")) > 20:
        stem, extension = text, ""
    room = _MAX_NAME_BYTES - len(extension.encode("utf-8", "replace"))
    return stem.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + extension


def name_beside(path: str) -> str:
    """A path in the same folder that leaves room for a suffix: the path itself, unless its name is as long as can be.

    The shortened one ends with a hash of the whole, so that two long names that begin alike do not meet.
    """
    folder, name = os.path.split(path)
    raw = os.fsencode(name)
    if len(raw) <= _LONGEST_NAME - _LONGEST_SUFFIX:
        return path
    kept = raw[: _LONGEST_NAME - _LONGEST_SUFFIX - 9].decode("utf-8", "ignore")
    return os.path.join(folder, f"{kept}.{hashlib.sha256(raw).hexdigest()[:8]}")


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
                text = re.sub(r"\\(.)", r"\1", text[1:].removesuffix('"'))  # which some leave out
            try:  # fields are read as ISO-8859-1; who sends more than ASCII mostly means UTF-8
                text = text.encode("latin-1").decode("utf-8")
            except UnicodeError:
                pass
            plain.append(unquote(text) if "%" in text else text)
    return extended + plain
