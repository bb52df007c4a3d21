"""Cells for a notebook; editors that know ``# %%`` run them one by one, and Python runs the file as a whole.

A notebook has an event loop running, in which ``asyncio.run()`` fails. A blocking client does not care.
"""

# %% Connect. The client lives as long as the kernel: no `with`, and nothing to await.
from contextlib import ExitStack

from workshop import endpoint

from streamhttp_client import Client
from streamhttp_client.notebook import ProgressBar

kernel = ExitStack()
client = Client(kernel.enter_context(endpoint()))
[tool.name for tool in client.list_tools()]

# %% Call, with a bar under the cell. Interrupting the kernel cancels the call on the server too.
with ProgressBar("crunch") as bar:
    result = client.call_tool("crunch", {"rows": 50}, on_progress=bar)
print(result.data)

# %% Keep the session before the kernel is restarted; Client.resume(saved) goes on with it.
saved = client.session.to_json()
print(len(saved), "bytes of session")

# %% The end
client.close()
kernel.close()
