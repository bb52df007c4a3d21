"""A blocking client and WSGI server for Streamable HTTP, and for streaming over HTTP at large."""

__version__ = "0.1.0"
