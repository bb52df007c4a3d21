"""What users import: the names, that they resolve, that they are described, and what importing them costs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

import streamhttp_client
from streamhttp_client import exceptions
from streamhttp_client.server import Store

# The public face: a name leaves this list only with a new major version.
NAMES = [
    "AuthenticationError",
    "Call",
    "CallCancelled",
    "CallTimeout",
    "CapabilityError",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "ConnectionLost",
    "ContentTypeError",
    "DigestMismatch",
    "DiskFull",
    "DownloadResult",
    "EventSource",
    "HTTPStatusError",
    "HeaderMismatch",
    "InputRequired",
    "InvalidParams",
    "InvalidResult",
    "Lines",
    "Listener",
    "LocalProtocolError",
    "LogMessage",
    "MessageTooLarge",
    "MethodNotFound",
    "MissingCapability",
    "MissingExtra",
    "NotReplayable",
    "Progress",
    "RPCError",
    "RangesNotSupported",
    "ReadTimeout",
    "RemoteFile",
    "RemoteProtocolError",
    "ResourceNotFound",
    "ResumeRefused",
    "RetryPolicy",
    "Session",
    "SessionExpired",
    "SizeMismatch",
    "SourceChanged",
    "StreamCursor",
    "StreamHTTPError",
    "StreamOpened",
    "StreamStats",
    "TargetChanged",
    "TargetExists",
    "Timeout",
    "TooSlow",
    "Tool",
    "ToolError",
    "ToolResult",
    "TransferError",
    "TransferForbidden",
    "TransferInterrupted",
    "TransferRefused",
    "TransferTimeout",
    "TransportError",
    "URLElicitationRequired",
    "UnsupportedVersion",
    "UploadAnswer",
    "UploadGone",
    "UploadResult",
    "__version__",
    "download",
    "iter_lines",
    "open_url",
    "upload",
]

# Public names below the top, as the documentation has them.
ELSEWHERE = {
    "streamhttp_client.sse": ["Event", "SSEParser", "encode_comment", "encode_event", "iter_events"],
    "streamhttp_client.server": [
        "Blob",
        "Context",
        "MemoryStore",
        "RunningServer",
        "Server",
        "ServerSession",
        "Store",
        "WSGIApp",
    ],
    "streamhttp_client.notebook": ["ProgressBar"],
    "streamhttp_client.cli": ["main"],
}

# What a plain import must not load: each of these costs more than all of this package.
HEAVY = [
    "requests", "urllib3", "tenacity", "jsonschema", "asyncio", "dataclasses", "inspect", "msgspec", "rich",
    "email", "http.client", "ssl", "logging", "argparse", "typing_extensions",
]  # fmt: skip


def test_names() -> None:
    """``__all__`` holds at least the promised names, sorted, each once."""
    assert set(streamhttp_client.__all__) >= set(NAMES)
    assert len(set(streamhttp_client.__all__)) == len(streamhttp_client.__all__)
    assert streamhttp_client.__all__ == sorted(streamhttp_client.__all__)


@pytest.mark.parametrize("name", streamhttp_client.__all__)
def test_each_name_resolves(name: str) -> None:
    """Lazy names are there, and are shown by ``dir()`` before and after."""
    assert name in dir(streamhttp_client)
    assert getattr(streamhttp_client, name) is not None
    assert name in dir(streamhttp_client)


def test_an_unknown_name_is_refused() -> None:
    """Like any module, with the name in the message."""
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = streamhttp_client.Nonsense


def test_star_import() -> None:
    """``from streamhttp_client import *`` gives exactly the public names."""
    space: dict[str, Any] = {}
    exec("from streamhttp_client import *", space)
    assert set(space) - {"__builtins__"} == set(streamhttp_client.__all__)


def test_lazy_homes_name_only_public_things() -> None:
    """A name that was renamed or removed leaves no entry behind."""
    assert set(streamhttp_client._HOMES) <= set(streamhttp_client.__all__)


@pytest.mark.parametrize("module", ELSEWHERE)
def test_names_below_the_top(module: str) -> None:
    """What the documentation names can be imported from where it says."""
    found = importlib.import_module(module)
    assert set(ELSEWHERE[module]) <= set(found.__all__)
    for name in found.__all__:
        assert getattr(found, name) is not None


def test_the_version_is_that_of_the_distribution() -> None:
    """One version, wherever one looks."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("streamhttp-client")
    except PackageNotFoundError:
        pytest.skip("the package is not installed: pip install -e .")
    assert streamhttp_client.__version__ == installed


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import streamhttp_client", HEAVY),
        ("from streamhttp_client import Progress, StreamHTTPError", HEAVY),
        ("import streamhttp_client.sse", [name for name in HEAVY if name != "typing_extensions"]),
        ("from streamhttp_client import Client", ["asyncio", "dataclasses", "inspect", "tenacity", "jsonschema"]),
        ("from streamhttp_client.server import Server", ["requests", "urllib3", "tenacity", "asyncio", "cheroot"]),
    ],
)
def test_what_an_import_loads(statement: str, unwanted: list[str]) -> None:
    """A program pays only for what it uses. (What requests itself loads is not ours to save.)"""
    program = f"import sys\n{_before(statement)}before = set(sys.modules)\n{statement}\n"
    program += f"print(sorted(set({unwanted!r}) & (set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _before(statement: str) -> str:
    # requests and certifi load dataclasses and inspect on some versions; what counts is what we add to them.
    return "import requests, requests.auth\n" if statement.endswith("import Client") else ""


def public_members() -> list[tuple[str, Any]]:
    """Public classes and functions, and the public methods and properties that we define on them."""
    found: list[tuple[str, Any]] = []
    everything = [(streamhttp_client, name) for name in streamhttp_client.__all__]
    everything += [(importlib.import_module(module), name) for module, names in ELSEWHERE.items() for name in names]
    for module, name in everything:
        value = getattr(module, name)
        if not callable(value):
            continue
        found.append((name, value))
        if isinstance(value, type):
            for owner in value.__mro__:
                if not owner.__module__.startswith("streamhttp_client"):
                    continue
                for attribute, member in vars(owner).items():
                    plain = isinstance(member, (staticmethod, classmethod, property)) or inspect.isfunction(member)
                    if plain and not attribute.startswith("_"):
                        found.append((f"{name}.{attribute}", getattr(value, attribute, member)))
    return found


@pytest.mark.parametrize(("name", "value"), public_members(), ids=lambda value: value if isinstance(value, str) else "")
def test_everything_public_is_described(name: str, value: object) -> None:
    """Every public class, function, method and property has a docstring; what implements a protocol may leave it to
    that.
    """
    text = inspect.getdoc(value)
    if not text and name.startswith("MemoryStore."):
        text = inspect.getdoc(getattr(Store, name.partition(".")[2]))
    assert text and text.strip()


def test_errors_are_one_tree() -> None:
    """Every public error is a StreamHTTPError, and every error of the tree is drawn in its module's docstring."""
    tree = exceptions.__doc__ or ""
    for name in exceptions.__all__:
        error = getattr(exceptions, name)
        assert issubclass(error, streamhttp_client.StreamHTTPError)
        assert name in tree


@pytest.mark.parametrize("name", ["call_tool", "stream_tool", "list_tools", "read_resource", "get_prompt", "send_ping"])
def test_options_are_keyword_only(name: str) -> None:
    """After the first arguments, which say what is asked for, everything is given by name."""
    parameters = inspect.signature(getattr(streamhttp_client.Client, name)).parameters
    positional = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional[1:] in ([], ["name", "arguments"], ["uri"])
    assert parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY
