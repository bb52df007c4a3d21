"""What importing the server brings along, and what it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import streamhttp_client

FOREIGN = ["requests", "urllib3", "tenacity", "msgspec", "cheroot", "redis", "jsonschema", "asyncio"]


def loaded(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after a statement."""
    source = Path(streamhttp_client.__file__).parents[1]
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(finished.stdout))


def test_server_stands_on_the_pure_layers() -> None:
    """No network package, no optional one before it is used, and nothing of the client."""
    modules = loaded("from streamhttp_client.server import Server, RedisStore; Server('a', '1').wsgi()")
    assert not modules & set(FOREIGN)
    ours = {name.split(".")[1] for name in modules if name.startswith("streamhttp_client.")}
    assert ours <= {"exceptions", "_record", "_headers", "_version", "jsonrpc", "sse", "protocol", "server", "progress"}


def test_client_does_not_import_the_server() -> None:
    modules = loaded("from streamhttp_client import Client")
    assert not {name for name in modules if name.startswith("streamhttp_client.server")}
