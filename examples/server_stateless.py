"""What revision 2026-07-28 has for servers. Clients of older revisions get the same tools, at the same address.

    gunicorn -k gthread --workers 4 --threads 64 --chdir examples server_stateless:app

There are no sessions, so any worker can answer any request. What a client carries while its user thinks is signed
with a secret that the workers share through their store; tasks and subscriptions are there too, as in
``server_workers.py``. Without a common store, give all the same ``state_secret=``.
"""

from __future__ import annotations

import os
import secrets
import threading
from typing import Annotated, Any

from streamhttp_client.server import Context, Header, Server, SQLiteStore

# Lists of tools, resources and prompts may be kept for a minute, by anybody.
server = Server("shop", "1.0", ttl=60, cache_scope="public")

STOCK = {"tea": 12, "coffee": 7}


@server.tool()
def order(item: str, ctx: Context, region: Annotated[str, Header("Region"), "Where to send it"] = "eu") -> str:
    """Order something. Gateways can route the request by its header ``Mcp-Param-Region``."""
    # Until the user has answered, the function is run anew in each round. This is done in the first one only.
    number = ctx.once("number", lambda: secrets.token_hex(4))
    form = {"type": "object", "properties": {"amount": {"type": "integer", "minimum": 1}}, "required": ["amount"]}
    answer = ctx.elicit(f"How much {item}? There are {STOCK.get(item, 0)}.", form)
    if answer.action != "accept" or answer.content is None:
        return f"order {number} is cancelled"
    return f"order {number}: {answer.content['amount']} {item} to {region}, by process {os.getpid()}"


@server.tool(task=True)
def stocktaking(ctx: Context, seconds: float = 0.2) -> dict[str, Any]:
    """Count everything. Clients that know tasks collect the result later, from any worker."""
    for done, item in enumerate(STOCK):
        threading.Event().wait(seconds)
        ctx.progress(done + 1, len(STOCK), f"counted {item}")
        if ctx.cancelled:
            break
    return {"stock": STOCK, "process": os.getpid()}


@server.resource("shop://prices", ttl=10, cache_scope="public")
def prices() -> dict[str, float]:
    """What things cost; good for ten seconds."""
    return {"tea": 3.5, "coffee": 8.0}


@server.tool()
def raise_prices() -> str:
    """Say that the prices have changed, to everybody who listens."""
    return f"told {server.notify_resource_updated('shop://prices')} clients"


app = server.wsgi("/mcp", store=SQLiteStore(os.environ.get("STORE", "streamhttp-example.db")))
