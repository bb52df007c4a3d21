"""Where sessions and the events of their streams are kept: in memory, in SQLite, or in Redis."""

from __future__ import annotations

from .base import Page, Store
from .memory import MemoryStore

__all__ = ["MemoryStore", "Page", "Store"]
