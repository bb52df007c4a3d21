"""The README says what is so: its programs run, its commands, options, extras and errors exist."""

from __future__ import annotations

import builtins
import configparser
import inspect
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import streamhttp_client
from streamhttp_client.cli import app, main
from streamhttp_client.exceptions import TransferError
from streamhttp_client.protocol.versions import REVISIONS
from streamhttp_client.server import Context, Server

pytest.importorskip("cheroot", reason="the embedded server needs the extra [server]")

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PLACEHOLDER = "https://example.com/mcp"
PATIENCE = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


PROGRAMS = blocks("python")
COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with the tool that the README calls."""
    server = Server("crunch", "1.0")

    @server.tool()
    def crunch(rows: int, ctx: Context) -> dict[str, int]:
        """Crunch some rows."""
        for row in range(rows):
            ctx.progress(row + 1, rows, f"row {row + 1}")
        return {"rows": rows}

    with server.serve() as running:
        yield running.url


def run(program: str, folder: Path | None = None) -> str:
    """The output of a program that ended well, in an interpreter of its own."""
    environment = {
        **os.environ,
        "PYTHONWARNINGS": "error",
        "PYTHONPATH": str(Path(streamhttp_client.__file__).parent.parent),
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_shortest_program(url: str) -> None:
    """It lists the tools, shows the progress, and prints text and value."""
    said = run(PROGRAMS[0].replace(PLACEHOLDER, url)).splitlines()
    assert said[0] == "crunch Crunch some rows."
    assert [line.startswith("Progress(progress=") for line in said[1:11]] == [True] * 10
    assert said[11:] == ['{"rows": 10}', "{'rows': 10}"]


def test_the_program_that_streams_and_resumes(url: str) -> None:
    """It iterates the progress, prints the value, and pings from the resumed session."""
    said = run(PROGRAMS[1].replace(PLACEHOLDER, url)).splitlines()
    assert said == [*(f"{row / 10} row {row}" for row in range(1, 11)), "{'rows': 10}"]


def test_the_server_program() -> None:
    """It serves a tool and calls it."""
    assert run(PROGRAMS[2]) == "crunched 3 rows\n"


class Service(BaseHTTPRequestHandler):
    """A feed of two events, and a file in ranges."""

    protocol_version = "HTTP/1.1"
    content = bytes(range(256)) * 64

    def do_GET(self) -> None:
        if self.path == "/feed" and not self.headers["Last-Event-ID"]:
            self.answer(200, b"id: 1\ndata: one\n\nid: 2\nevent: more\ndata: two\nretry: 10\n\n")
        elif self.path == "/feed":
            self.answer(204, b"")
        elif self.headers["Range"]:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or len(self.content)) + 1, len(self.content))
            self.answer(206, self.content[begin:end], f"bytes {begin}-{end - 1}/{len(self.content)}")
        else:
            self.answer(200, self.content)

    def answer(self, status: int, body: bytes, part: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if self.path == "/feed" else "application/octet-stream")
        self.send_header("ETag", '"1"')
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        if part is not None:
            self.send_header("Content-Range", part)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_program_for_any_service(tmp_path: Path) -> None:
    """It follows the feed to its end, downloads the file, and reads the end of it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/"
            said = run(PROGRAMS[3].replace("https://example.com/", address), tmp_path).splitlines()
        finally:
            server.shutdown()
            thread.join(PATIENCE)
    assert said[:2] == ["message one", "more two"]
    assert said[2].startswith("Progress(progress=") and "state='done'" in said[-2]
    assert said[-1] == repr(Service.content[-4:])
    assert (tmp_path / "big.bin").read_bytes() == Service.content


def test_no_program_is_left_out() -> None:
    """Each Python block is run above."""
    assert len(PROGRAMS) == 4


def test_the_commands_of_the_shell(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ``streamhttp …`` line works; the one that listens is given an end."""
    tried = 0
    for line in COMMANDS:
        if line.startswith("streamhttp "):
            arguments = shlex.split(line.replace(PLACEHOLDER, url))[1:]
            if arguments[0] == "listen":
                arguments += ["--timeout", "0.2"]
            assert main(arguments) == 0, capsys.readouterr().err
            tried += 1
    assert tried == 4


def test_the_two_commands_to_begin_with() -> None:
    """One installs and shows the demo, one installs and runs the tests; each is one line of a block of its own."""
    demo, tests = (block.strip() for block in blocks("sh")[:2])
    for line in (demo, tests):
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert "\n" not in line
    assert demo.endswith("&& .venv/bin/streamhttp demo")
    assert tests.endswith("&& .venv/bin/python -m pytest")
    assert "demo" in app._COMMANDS


def test_the_extras_exist() -> None:
    """Every extra that is named can be installed, and brings what the table says."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    extras = settings["options.extras_require"]
    named = set(re.findall(r"\[(\w+)\]`", README)) | set(re.findall(r"'\.\[(\w+)\]'", README))
    assert named == {"server", "schema", "redis", "progress", "cli", "demo", "test"}
    assert named <= set(extras)
    for extra, packages in re.findall(r"^\| `\[(\w+)\]` \| ([a-z, ]+) \|", README, re.MULTILINE):
        if not packages.startswith("all"):
            for package in packages.split(", "):
                assert package in extras[extra], (extra, package)
    # The demo starts the server, so its extra has to bring what that one brings.
    for line in extras["server"].split():
        assert line in extras["demo"]
        assert line in extras["test"]


def test_the_core_is_what_is_said() -> None:
    """No dependency but the four."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    names = re.findall(r"^([a-z0-9-]+)", settings["options"]["install_requires"], re.MULTILINE)
    assert sorted(names) == ["requests", "tenacity", "typing-extensions", "urllib3"]
    assert "requests, urllib3, tenacity and typing-extensions" in README


def test_the_revisions_are_those_of_the_code() -> None:
    """The columns of the table are the revisions that the package speaks."""
    header = next(line for line in README.splitlines() if line.startswith("| | "))
    assert set(re.findall(r"\d{4}-\d\d-\d\d", header)) <= set(REVISIONS)


def test_the_errors_exist_and_know_what_is_said() -> None:
    """Each error of the table is public, of the kind that is said, and documents the facts that are said."""
    table = README.partition("## Errors")[2].partition("## More")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    named = set()
    facts: list[str] = []
    for errors, _, knows in rows:
        if knows.strip() != "the same":
            facts = re.findall(r"`(\w+)`", knows)
        builtin = [getattr(builtins, base) for base in re.findall(r"\(an? `(\w+)`\)", errors)]
        for name in re.findall(r"`([A-Z]\w+)`", re.sub(r"\(.*?\)", "", errors)):
            named.add(name)
            error = getattr(streamhttp_client, name)
            described = "\n".join(inspect.getdoc(base) or "" for base in error.__mro__)
            assert [fact for fact in facts if fact not in described] == [], name
            assert all(issubclass(error, base) for base in builtin), name
    assert len(named) > 15
    public = {
        name
        for name in streamhttp_client.__all__
        if inspect.isclass(value := getattr(streamhttp_client, name)) and issubclass(value, Exception)
    }
    general = {"StreamHTTPError", "TransportError"}
    transfers = {name for name in public if issubclass(getattr(streamhttp_client, name), TransferError)}
    assert public - named - transfers == general


def test_the_options_exist() -> None:
    """Options that the text names as ``name=`` are options of the client or of its calls."""
    known: set[str] = set()
    for function in (
        streamhttp_client.Client.__init__,
        streamhttp_client.Client.call_tool,
        streamhttp_client.Client.close,
        streamhttp_client.Timeout,
    ):
        known |= set(inspect.signature(function).parameters)
    text = README.partition("## What happens when")[2]
    ours = re.sub(r"^\| .*?(?<!\\)\| ", "", text, flags=re.MULTILINE)  # the left column belongs to the official SDK
    named = set(re.findall(r"`(\w+)=", ours)) | {"max_message_size"}
    assert named and named <= known


def test_the_limits_are_those_of_the_code() -> None:
    """The numbers in the text are the defaults."""
    from streamhttp_client.client import asking, options
    from streamhttp_client.net.retry import RetryPolicy

    timeout = streamhttp_client.Timeout()
    assert (timeout.connect, timeout.read, timeout.total) == (10, None, 300)
    assert "300 seconds for all of it, 10 of them to connect" in README
    assert RetryPolicy().attempts == 8 and "(8 by default" in README
    assert RetryPolicy().max_server_wait == 120 and "up to two minutes" in README
    assert options.DEFAULT_MAX_MESSAGE_SIZE == 64 << 20 and "64 MiB" in README
    assert asking._MAX_PAGES == 10_000 and "10,000 pages" in README


def test_the_schema_dialects_are_those_of_the_code() -> None:
    """BASE-14: the README says which dialects of JSON Schema are supported, and each of them is."""
    pytest.importorskip("jsonschema", reason="needs the extra [schema]")
    from streamhttp_client import InvalidResult, ToolResult
    from streamhttp_client.client.validation import OutputChecker

    said = re.sub(r"\s+", " ", README.partition("**JSON Schema.**")[2].partition("\n\n")[0])
    assert "as 2020-12 unless `$schema` names another dialect: 2019-09, draft 7, 6, 4 and 3" in said
    good, bad = (ToolResult((), structured_content={"n": value}) for value in (1, "x"))
    dialects = [None, "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema"]
    dialects += [f"http://json-schema.org/draft-0{number}/schema#" for number in (7, 6, 4, 3)]
    for dialect in dialects:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        tool = streamhttp_client.Tool("t", output_schema=schema if dialect is None else {"$schema": dialect, **schema})
        OutputChecker().check(tool, good)
        with pytest.raises(InvalidResult, match="does not fit"):
            OutputChecker().check(tool, bad)
    unknown = streamhttp_client.Tool("t", output_schema={"$schema": "https://example.com/own", "type": "object"})
    with pytest.raises(InvalidResult, match="unknown dialect"):
        OutputChecker().check(unknown, good)


def test_links_lead_somewhere() -> None:
    """Links to files of the project name files that are there."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
