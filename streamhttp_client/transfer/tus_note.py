"""What is noted of an upload by tus, so that another process can go on with it: a sidecar, and who may have it."""

from __future__ import annotations

import threading
import time
from typing import Any

from .._record import Record
from .sidecar import Sidecar, address_key, owner
from .tus_values import parse_parts

__all__ = ["Found", "UploadNote"]

# How often the sidecar is made young again; a tenth of the age at which other machines take an upload for abandoned.
_TOUCH_SECONDS = 30.0


class Found(Record):
    """What an earlier process left.

    Attributes:
        parts: Address, start and end of each part; empty if they do not fit the source.
        expires: When the server forgets them, as it said; or None.
        same_address: Whether they were begun at the same endpoint.
        same_source: Whether they are of this very content.
    """

    parts: list[tuple[str, int, int]]
    expires: str | None
    same_address: bool
    same_source: bool


class UploadNote:
    """The sidecar of one upload. Any lane may call it.

    Args:
        path: Of the sidecar; None to note nothing.
        address: The endpoint.
        fingerprint: Of the source; None if nothing tells it from another one, and nothing is noted.

    Attributes:
        parts: Address, start and end of each part.
        expires: When the server forgets them, as it said; or None.
    """

    def __init__(self, path: str | None, address: str, fingerprint: dict[str, Any] | None) -> None:
        self._path = None if fingerprint is None else path
        self._address = address_key(address)
        self._fingerprint = fingerprint
        self.parts: list[tuple[str, int, int | None]] = []
        self.expires: str | None = None
        self._sidecar: Sidecar | None = None  # once it is ours
        self._touched = time.monotonic()
        self._lock = threading.Lock()  # one writes at a time

    @property
    def is_kept(self) -> bool:
        """Whether a later process will find it."""
        return self._sidecar is not None

    def claim(self, size: int | None) -> Found | None:
        """Take it over: what an earlier process left, or None if nothing, or if somebody is at it."""
        if self._path is None:
            return None
        sidecar = Sidecar(self._path)
        try:
            state = sidecar.claim(self._path)
        except OSError:
            return None  # a folder that cannot be written to: it works, and cannot be gone on with
        if state is None:
            return None  # somebody is sending it right now: this one is an upload of its own
        self._sidecar = sidecar
        if not state:
            return None
        expires = state.get("expires")
        same_address = state.get("key") == self._address["key"]
        return Found(
            parse_parts(state.get("uploads"), size),
            expires if isinstance(expires, str) else None,
            same_address,
            same_address and state.get("fingerprint") == self._fingerprint,
        )

    def save(self, *, released: bool = False) -> None:
        """Note where the parts are; ``released`` lets another process have it, if there are any."""
        sidecar = self._sidecar
        if sidecar is None:
            return
        state = {
            **self._address,
            "fingerprint": self._fingerprint,
            "uploads": [list(part) for part in self.parts],
            "expires": self.expires,
            "owner": None if released else owner(),
        }
        with self._lock:
            if released and not self.parts:
                sidecar.remove()
                return
            try:
                sidecar.write(state)
            except OSError:
                pass  # a full disk must not end an upload

    def show_life(self) -> None:
        """Called with each piece of data and each request: one request may take hours."""
        now = time.monotonic()
        if self._sidecar is not None and now - self._touched >= _TOUCH_SECONDS:
            self._touched = now
            self._sidecar.touch()

    def forget(self) -> None:
        """There is nothing to go on with any more."""
        sidecar, self._sidecar = self._sidecar, None
        if sidecar is not None:
            sidecar.remove()
