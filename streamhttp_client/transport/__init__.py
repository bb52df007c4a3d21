"""MCP messages over HTTP. Knows no tools, prompts or resources."""
