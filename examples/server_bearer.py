"""An MCP endpoint that asks for tokens, beside the pages of a service, and the document that says where they come from.

``gunicorn -k gthread --threads 32 --chdir examples server_bearer:application``. A client without a token is answered
with 401 and the address of that document, which is at the root of the host and not below ``/mcp``: so the service has
to mount it too. ``TOKENS`` stands for what checks tokens in a real service, such as a library for JSON Web Tokens.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable
from typing import Any

from streamhttp_client.server import BearerAuth, Context, Server

TOKENS = {"token-of-ada": "ada", "token-of-bob": "bob"}

server = Server("notes", "1.0")
notes: dict[str, list[str]] = {}


@server.tool()
def note(text: str, ctx: Context) -> str:
    """Keep a note of one's own."""
    owner = ctx.session.principal or ""
    notes.setdefault(owner, []).append(text)
    return f"{owner} has {len(notes[owner])} notes"


def find_owner(token: str) -> str | None:
    """Say who a token belongs to; None lets nobody in. A real one also checks that it was issued for this server."""
    for known, owner in TOKENS.items():
        if hmac.compare_digest(known.encode(), token.encode()):
            return owner
    return None


bearer = BearerAuth(
    find_owner,
    # As clients see it, also behind a proxy.
    resource=os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000/mcp"),
    authorization_servers=["https://auth.example.com"],
)
# Flask: app.wsgi_app = DispatcherMiddleware(app.wsgi_app, places)
places = {"/mcp": server.wsgi("/mcp", bearer=bearer), bearer.metadata_path: bearer.metadata_app}


def beside(pages: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Put the endpoint beside a WSGI application, such as what Django's ``get_wsgi_application()`` returns."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return places.get(environ.get("PATH_INFO", "").rstrip("/"), pages)(environ, start_response)

    return application


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"The service's own pages.\n"]


application = beside(hello)
