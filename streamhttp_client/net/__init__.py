"""The only home of requests, urllib3 and tenacity: bytes and policies, no MCP."""
