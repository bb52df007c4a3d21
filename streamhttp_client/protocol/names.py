"""Words of the wire that both halves need: keys of ``_meta``, extensions, and error codes of the protocol's own."""

from __future__ import annotations

__all__ = [
    "CLIENT_CAPABILITIES",
    "CLIENT_INFO",
    "ECHOED",
    "HEADER_MISMATCH",
    "LOG_LEVEL",
    "MISSING_CAPABILITY",
    "PROTOCOL_VERSION",
    "RELATED_TASK",
    "RESOURCE_NOT_FOUND",
    "SERVER_INFO",
    "SUBSCRIPTION_ID",
    "TASKS_EXTENSION",
    "UNSUPPORTED_VERSION",
    "URL_ELICITATION_REQUIRED",
]

# Since 2026-07-28, basic/index, Per-request protocol fields
PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"

SERVER_INFO = "io.modelcontextprotocol/serverInfo"
"""In results, since 2026-07-28: who answers."""

SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
"""In messages of ``subscriptions/listen``: the id of its request."""

RELATED_TASK = "io.modelcontextprotocol/related-task"
"""In messages that belong to a task of 2025-11-25."""

TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
"""A server may answer a tool call with a task: named among the ``extensions`` of the capabilities of both sides."""

ECHOED = frozenset(("cursor", "requestState"))
"""Parameters that a server has made and that it gets back as they are: "The client MUST echo back the exact value"
(2026-07-28, basic/patterns/mrtr), and cursors are opaque (utilities/pagination)."""

# 2026-07-28, basic/index, Error Codes
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

# Of earlier revisions: "Implementations … MUST NOT emit these codes", ibid.
RESOURCE_NOT_FOUND = -32002
URL_ELICITATION_REQUIRED = -32042
