"""Where sessions and the events of their streams are kept: in memory, in SQLite, or in Redis."""

from __future__ import annotations

from .base import Page, Store, StoreError, StoreFull, StoreUnavailable
from .memory import MemoryStore
from .redis_store import RedisStore
from .sqlite import SQLiteStore

__all__ = ["MemoryStore", "Page", "RedisStore", "SQLiteStore", "Store", "StoreError", "StoreFull", "StoreUnavailable"]
