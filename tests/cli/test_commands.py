"""``streamhttp info``, ``tools``, ``call`` and ``listen``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client.cli.commands import describe_block, signature
from streamhttp_client.protocol.models.content import EmbeddedResource, ImageContent, ResourceLink, UnknownContent
from streamhttp_client.protocol.models.tools import Tool
from tests.cli.conftest import PATIENCE, Ran, Workshop, start

Run = Callable[..., Ran]


def test_info(streamhttp: Run, workshop: Workshop) -> None:
    """Who the server is, which revision was agreed and how, what it offers, and its instructions."""
    ran = streamhttp("info", workshop.url)
    assert (ran.status, ran.err) == (0, "")
    assert f"address   {workshop.url}\n" in ran.out
    assert "server    The Workshop 1.2\n" in ran.out
    assert "revision  2026-07-28\n" in ran.out
    assert "era       stateless: each request" in ran.out
    assert "agreed    the server answered server/discover\n" in ran.out
    assert "session   no, it is stateless\n" in ran.out
    assert "tools (listChanged)" in ran.out
    assert ran.out.endswith("\nHandle with care.\nTwo lines.\n")


def test_info_for_programs(streamhttp: Run, workshop: Workshop) -> None:
    """The same as one JSON object; ``--protocol`` asks for one revision."""
    ran = streamhttp("info", workshop.url, "--json", "--protocol", "2025-03-26")
    said = json.loads(ran.out)
    assert said["protocolVersion"] == "2025-03-26"
    assert said["era"] == "session"
    assert said["negotiation"] == ["as the caller wanted", "initialize agreed on 2025-03-26"]
    assert said["serverInfo"] == {"name": "workshop", "title": "The Workshop", "version": "1.2"}
    assert said["keepsSession"] is True
    assert "tools" in said["capabilities"]


def test_tools(streamhttp: Run, workshop: Workshop) -> None:
    """Each tool with its arguments, those that must be given first, and its description indented."""
    ran = streamhttp("tools", workshop.url)
    assert ran.status == 0
    assert "count n=integer [word=string]\n    Count.\n\n    Reports each step.\n" in ran.out
    listed = json.loads(streamhttp("tools", workshop.url, "--json").out)
    assert {tool["name"] for tool in listed} >= {"count", "echo", "fail"}
    assert all("inputSchema" in tool for tool in listed)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "object"}, "t"),
        ({"properties": {"a": {"type": "string"}, "b": {}}, "required": ["b"]}, "t b=any [a=string]"),
        ({"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}, "t [a=integer|null]"),
        ({"properties": {"a": {"enum": ["x", 5]}}, "required": ["a"]}, "t a=x|5"),
        ({"properties": {"a": {"type": ["string", "null"]}}, "required": "a"}, "t [a=string|null]"),
        ({"properties": {"a": True}, "required": ["a"]}, "t a=any"),
        ({"properties": [1]}, "t"),
    ],
)
def test_signatures(schema: dict[str, Any], text: str) -> None:
    """Whatever a server writes as a schema, a line comes of it."""
    assert signature(Tool("t", input_schema=schema)) == text


def test_call(streamhttp: Run, workshop: Workshop) -> None:
    """The result goes to stdout; progress and log messages go to stderr."""
    ran = streamhttp("call", workshop.url, "count", "n=3", "word=nail")
    assert (ran.status, ran.out) == (0, "counted to 3\n")
    assert "count: 1/3 (33 %): nail 1\n" in ran.err
    assert 'warning: abacus: {"counted": 3}\n' in ran.err
    assert "count: 3/3 (100 %)" in ran.err.splitlines()[-1]


def test_a_quiet_call(streamhttp: Run, workshop: Workshop) -> None:
    """``--quiet`` leaves stderr for errors."""
    assert streamhttp("call", workshop.url, "count", "n=3", "--quiet") == (0, "counted to 3\n", "")


@pytest.mark.parametrize(
    ("argument", "kind", "value"),
    [
        ("value=5", "int", 5),
        ("value=true", "bool", True),
        ("value=[1,2]", "list", [1, 2]),
        ('value={"a":null}', "dict", {"a": None}),
        ("value=null", "NoneType", None),
        ("value=plain words", "str", "plain words"),
        ('value="5"', "str", "5"),
        ("value=a=b", "str", "a=b"),
        ("value=", "str", ""),
        ("value=NaN", "str", "NaN"),
    ],
)
def test_values(streamhttp: Run, workshop: Workshop, argument: str, kind: str, value: object) -> None:
    """A value that is JSON is taken as that, and anything else as text."""
    ran = streamhttp("call", workshop.url, "echo", argument, "--json")
    assert json.loads(ran.out)["structuredContent"] == {"kind": kind, "value": value}


def test_arguments_as_json(streamhttp: Run, workshop: Workshop) -> None:
    """``--arg-json`` gives all at once; single ones come on top."""
    ran = streamhttp("call", workshop.url, "count", "--arg-json", '{"n": 5, "word": "a"}', "n=2")
    assert ran.out == "counted to 2\n"
    assert "a 2" in ran.err


def test_content_that_is_not_text(streamhttp: Run, workshop: Workshop) -> None:
    """It is described, since a terminal cannot show it."""
    assert streamhttp("call", workshop.url, "picture").out == "a picture:\n[image, image/png, 5 bytes]\n"


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (ImageContent("QUJD", "image/png"), "image, image/png, 3 bytes"),
        (ImageContent("QQ==", "image/png"), "image, image/png, 1 bytes"),
        (ResourceLink("file:///a", "a", mime_type="text/plain"), "resource link, text/plain, file:///a"),
        (
            EmbeddedResource.from_wire({"type": "resource", "resource": {"uri": "x:1", "text": "t"}}),
            "resource, x:1",
        ),
        (UnknownContent("hologram"), "hologram"),
    ],
)
def test_blocks(block: Any, text: str) -> None:
    """Kind, type, address and size, as far as they are known."""
    assert describe_block(block) == text


def test_a_file_gets_what_the_server_sent(streamhttp: Run, workshop: Workshop) -> None:
    """Control characters are kept where no terminal is steered by them."""
    assert streamhttp("call", workshop.url, "escape").out == "red \x1b[31malert\x07\n"


def test_a_terminal_is_not_steered_by_the_server(
    streamhttp: Run, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control characters are replaced on a terminal, in JSON too."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert streamhttp("call", workshop.url, "escape").out == "red �[31malert�\n"
    assert "\x1b" not in streamhttp("call", workshop.url, "escape", "--json").out


def test_a_tool_that_fails(streamhttp: Run, workshop: Workshop) -> None:
    """Status 1 and the tool's words on stderr; with ``--json`` the whole result on stdout all the same."""
    assert streamhttp("call", workshop.url, "fail") == (1, "", "streamhttp: the tool failed: out of paper\n")
    ran = streamhttp("call", workshop.url, "fail", "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["isError"] is True


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("call", "nosuch"), "unknown tool"),
        (("call", "count", "n=many"), "invalid arguments"),
        (("call", "wait", "--timeout", "0.3", "--quiet"), "0.3 s"),
    ],
)
def test_calls_that_fail(streamhttp: Run, workshop: Workshop, arguments: tuple[str, ...], word: str) -> None:
    """A call that was refused or took too long: status 1 and one line."""
    command, *rest = arguments
    ran = streamhttp(command, workshop.url, *rest)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("streamhttp: ") and ran.err.count("\n") == 1
    assert word in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("tools",),
        ("tools", "ftp://example.com"),
        ("tools", "not an address"),
        ("tools", "URL", "--timeout", "soon"),
        ("tools", "URL", "--timeout", "-1"),
        ("tools", "URL", "--timeout", "inf"),
        ("tools", "URL", "--header", "no colon"),
        ("tools", "URL", "--header", "Bad\nName: x"),
        ("tools", "URL", "--auth", "nocolon"),
        ("tools", "URL", "--protocol", "1999-01-01"),
        ("call", "URL"),
        ("call", "URL", "count", "n"),
        ("call", "URL", "count", "=5"),
        ("call", "URL", "count", "--arg-json", "{"),
        ("call", "URL", "count", "--arg-json", "[1]"),
        ("call", "URL", "count", "--arg-json", '{"a": NaN}'),
        ("listen", "URL", "--count", "0"),
    ],
)
def test_arguments_that_cannot_be_used(streamhttp: Run, workshop: Workshop, arguments: tuple[str, ...]) -> None:
    """Status 2, an explanation on stderr, nothing on stdout, no traceback."""
    ran = streamhttp(*(workshop.url if argument == "URL" else argument for argument in arguments))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err and "Traceback" not in ran.err


def test_secrets_in_arguments_are_not_repeated(streamhttp: Run, workshop: Workshop) -> None:
    """A complaint about a header or credentials does not print them."""
    for option in ("--auth", "--header"):
        assert "s3cret" not in streamhttp("tools", workshop.url, option, "s3cret").err


def test_nobody_listens(streamhttp: Run) -> None:
    """Status 3, one line that names the address and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ran = streamhttp("tools", f"http://127.0.0.1:{port}/mcp")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.startswith("streamhttp: ") and ran.err.count("\n") == 1
    assert f"127.0.0.1:{port}" in ran.err


def test_no_mcp_server(streamhttp: Run, workshop: Workshop) -> None:
    """An address at which no MCP server answers: status 3."""
    ran = streamhttp("tools", workshop.url + "/elsewhere")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.count("\n") == 1


def test_verbose_shows_where_an_error_came_from(workshop: Workshop) -> None:
    """``-v`` logs to stderr and prints the traceback; without it there is none."""
    child = start("call", workshop.url, "fail", "-v")
    _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1
    assert "Traceback" in err
    assert err.endswith("streamhttp: the tool failed: out of paper\n")


def test_credentials_reach_the_server(
    streamhttp: Run, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the arguments, or better from the environment; an argument wins."""
    basic = "Basic dTpw"

    def sent(*arguments: str) -> str | None:
        workshop.headers.clear()
        assert streamhttp("info", workshop.url, *arguments).status == 0
        return workshop.headers[0].get("HTTP_AUTHORIZATION")

    assert sent() is None
    assert sent("--auth", "u:p") == basic
    assert sent("--header", "Authorization: Bearer abc") == "Bearer abc"
    monkeypatch.setenv("STREAMHTTP_TOKEN", "tok")
    assert sent() == "Bearer tok"
    assert sent("--header", "authorization: Bearer abc") == "Bearer abc"
    assert sent("--auth", "u:p") == basic
    monkeypatch.setenv("STREAMHTTP_AUTH", "u:p")
    assert sent() == basic
    monkeypatch.setenv("STREAMHTTP_AUTH", "nonsense")
    ran = streamhttp("info", workshop.url)
    assert ran.status == 2
    assert "$STREAMHTTP_AUTH must look like USER:PASSWORD" in ran.err and "nonsense" not in ran.err


def test_headers_reach_the_server(streamhttp: Run, workshop: Workshop) -> None:
    """Each ``--header`` is sent."""
    workshop.headers.clear()
    streamhttp("info", workshop.url, "--header", "X-One: 1", "--header", "X-Two:2: b")
    assert workshop.headers[0]["HTTP_X_ONE"] == "1"
    assert workshop.headers[0]["HTTP_X_TWO"] == "2: b"


def test_listen(workshop: Workshop) -> None:
    """Each notification is printed when it comes, as a line or as one line of JSON; ``--count`` ends it."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(0.05):  # said again and again, since nobody hears what precedes the stream
            workshop.server.notify_list_changed("tools")

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        for options, line in (
            ((), "tools/list_changed\n"),
            (("--json",), '{"method": "notifications/tools/list_changed", "params": {}}\n'),
        ):
            child = start("listen", workshop.url, "--count", "2", *options)
            out, err = child.communicate(timeout=PATIENCE)
            assert (child.returncode, out, err) == (0, line * 2, "")
    finally:
        over.set()
        teller.join(PATIENCE)


def test_listening_ends_in_time(streamhttp: Run, workshop: Workshop) -> None:
    """``--timeout`` is how long to listen; its end is no failure."""
    assert streamhttp("listen", workshop.url, "--timeout", "0.2") == (0, "", "")


@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_in_a_call(workshop: Workshop) -> None:
    """Ctrl-C cancels the call on the server and ends with status 130 and one line, with no traceback."""
    workshop.cancelled.clear()
    child = start("call", workshop.url, "wait")
    try:
        assert child.stderr is not None
        assert child.stderr.readline() == "wait: 1/2 (50 %): waiting\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    except BaseException:
        child.kill()
        raise
    assert (child.returncode, out, err) == (130, "", "streamhttp: interrupted\n")
    assert workshop.cancelled.wait(PATIENCE)


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_reader_that_has_seen_enough(workshop: Workshop) -> None:
    """``streamhttp tools … | head -1`` ends without complaint."""
    read, write = os.pipe()
    os.close(read)
    child = subprocess.Popen(
        [*start_arguments(), "tools", workshop.url], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    _, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, err) == (0, "")


def start_arguments() -> list[str]:
    """The command as users without the entry point run it."""
    import sys

    return [sys.executable, "-m", "streamhttp_client"]
