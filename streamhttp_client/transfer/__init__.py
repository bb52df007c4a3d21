"""Downloads and uploads that go on where they were cut, files over ranges, and lines of a stream. Knows no MCP."""
