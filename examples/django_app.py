"""An MCP endpoint beside the views of a Django project: what goes into the project's ``wsgi.py``.

``gunicorn -k gthread --threads 32 --chdir examples django_app:application``, then the endpoint is at
``/mcp``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from streamhttp_client.server import Context, Server

TODO = ["write", "test"]


def show(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"todo": TODO})


urlpatterns = [path("todo", show)]

if not settings.configured:  # a project has its settings in a module
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"], SECRET_KEY="not for use")
    django.setup()

server = Server("todo", "1.0")


@server.tool()
def add(text: str, ctx: Context) -> str:
    """Put something on the list."""
    # A handler runs on a thread of its own. One that uses the database calls
    # django.db.close_old_connections() at its beginning and end, as Django does for a request.
    TODO.append(text)
    ctx.progress(len(TODO), message=f"added {text}")
    return f"{len(TODO)} things to do"


views = get_wsgi_application()
endpoint = server.wsgi("/mcp")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Give requests to /mcp to the endpoint, all others to Django."""
    chosen = endpoint if environ.get("PATH_INFO", "").rstrip("/") == "/mcp" else views
    return chosen(environ, start_response)
