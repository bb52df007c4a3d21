"""A process dies in the middle of a call. Another one collects what it missed, and the result.

All that passes from one to the other is a small text: the session, with the cursor of the open call in it. Whoever has
it may act in the session, so keep it as you would keep a cookie.

Streams can be taken up in the revisions up to 2025-11-25, which is why one is named here. Since 2026-07-28 a server
makes a task of what takes long; see ``task_in_another_process.py``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from workshop import endpoint

from streamhttp_client import Client, Session


def begin(url: str, state: Path) -> None:
    """Start a call, note after each event where it stands, and die."""
    client = Client(url, protocol="2025-11-25")
    for event in client.stream_tool("crunch", {"rows": 20, "seconds": 1.0}):
        state.write_text(client.session.to_json())
        print("first process:", getattr(event, "message", event), flush=True)
        if event.progress == 5:
            os._exit(1)  # as hard as it gets: no goodbye to the server


def finish(state: Path) -> None:
    """Take the session up, without another handshake, and the call where it was left."""
    saved = Session.from_json(state.read_text())
    with Client.resume(saved) as client:
        result = client.resume_call(
            saved.cursors[0], on_progress=lambda progress: print("second process:", progress.message, flush=True)
        )
        print(result.data)


def run(*arguments: object) -> None:
    subprocess.run([sys.executable, __file__, *map(str, arguments)], check=False)


if len(sys.argv) > 2:
    mode, address, path = sys.argv[1:]
    if mode == "begin":
        begin(address, Path(path))
    else:
        finish(Path(path))
else:
    with endpoint() as url, tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "session.json")
        run("begin", url, state)
        run("finish", url, state)
