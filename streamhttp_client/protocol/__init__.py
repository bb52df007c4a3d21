"""What to say in MCP, and what an answer means. Pure: no sockets, threads, clock or requests."""
