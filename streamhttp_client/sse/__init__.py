"""Server-sent events, pure: bytes to events and back. No sockets, no MCP."""

from streamhttp_client.sse.encoder import encode_comment, encode_event
from streamhttp_client.sse.parser import Event, SSEParser, iter_events

__all__ = ["Event", "SSEParser", "encode_comment", "encode_event", "iter_events"]
