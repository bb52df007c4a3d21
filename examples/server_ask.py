"""A tool that asks back: the user for a decision, and the client's model for a text.

``python examples/server_ask.py`` prints its URL and runs until its standard input ends.
"""

from __future__ import annotations

import sys

from streamhttp_client.server import Context, Server

server = Server("travel", "1.0")


@server.tool()
def book(city: str, ctx: Context) -> str:
    """Book a journey. The user is asked before anything is paid."""
    answer = ctx.elicit(
        f"Book a journey to {city}?",
        {
            "type": "object",
            "properties": {
                "nights": {"type": "integer", "minimum": 1, "default": 2},
                "seat": {"type": "string", "enum": ["window", "aisle"], "default": "window"},
            },
            "required": ["nights"],
        },
    )
    if answer.action != "accept" or answer.content is None:
        return "nothing was booked"
    text = f"booked {answer.content['nights']} nights in {city}, seat at the {answer.content.get('seat')}"
    if ctx.session.can("sampling"):
        text += "\n" + ctx.ask_sampling(f"Write one line that wishes a good journey to {city}.", max_tokens=60).text
    return text


if __name__ == "__main__":
    with server.serve() as running:
        print(running.url, flush=True)
        sys.stdin.read()  # until Ctrl-D
