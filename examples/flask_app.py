"""An MCP endpoint beside the pages of a Flask application, sharing its data.

``gunicorn -k gthread --threads 32 --chdir examples flask_app:app``, then the endpoint is at ``/mcp``.
"""

from __future__ import annotations

from flask import Flask, current_app, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from streamhttp_client.server import Context, Server

app = Flask(__name__)
app.config["TODO"] = ["write", "test"]

server = Server("todo", "1.0")


@app.get("/todo")
def show() -> ResponseReturnValue:
    return jsonify(app.config["TODO"])


@server.tool()
def add(text: str, ctx: Context) -> str:
    """Put something on the list."""
    # Handlers run on threads of their own, so what needs an application context makes one.
    with app.app_context():
        todo = current_app.config["TODO"]
        todo.append(text)
        ctx.progress(len(todo), message=f"added {text}")
        return f"{len(todo)} things to do"


# Requests to /mcp go to the endpoint, all others to Flask.
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mcp": server.wsgi("/mcp")})  # type: ignore[method-assign]
