"""Names of the extensions to the protocol that are spoken here."""

from __future__ import annotations

__all__ = ["TASKS_EXTENSION"]

TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
"""A server may answer a tool call with a task: named among the ``extensions`` of the capabilities of both sides."""
