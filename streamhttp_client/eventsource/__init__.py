"""Any endpoint that sends server-sent events, over as many connections as it takes."""

from .source import EventSource, StreamOpened, StreamStats

__all__ = ["EventSource", "StreamOpened", "StreamStats"]
