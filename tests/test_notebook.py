"""Progress in notebooks. The tests with IPython run a real shell, and a real kernel where one is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from streamhttp_client import Progress
from streamhttp_client.notebook import ProgressBar

NEEDS_IPYTHON = "IPython is not installed: pip install ipython"
NEEDS_KERNEL = "a Jupyter kernel is not installed: pip install ipykernel nbclient"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shell() -> Iterator[Any]:
    """A running IPython shell."""
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason=NEEDS_IPYTHON)
    shell = interactive.InteractiveShell.instance()
    yield shell
    interactive.InteractiveShell.clear_instance()


def test_plain_lines_without_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    """In a script it prints the first count, then one a second, and the last at the end of the block."""
    clock = Clock()
    with ProgressBar("work", clock=clock) as bar:
        for step in range(1, 11):
            bar(Progress(step, 10))
            clock.now += 0.25
    shown = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["1/10", "5/10", "9/10", "10/10"]


def test_a_block_that_fails_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The error passes, and the last line tells how far it came."""
    with pytest.raises(KeyError), ProgressBar("work", clock=Clock()) as bar:
        bar(Progress(1, 2))
        raise KeyError
    assert capsys.readouterr().err.splitlines() == ["work: 1/2 (50 %)", "work: 1/2 (50 %), failed"]


def test_a_block_without_progress_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A tool that reports nothing leaves no trace."""
    with ProgressBar("work"):
        pass
    assert capsys.readouterr().err == ""


def test_the_html() -> None:
    """A bar with the share that is done, and the words beside it; text from the server is escaped."""
    bar = ProgressBar("<b>", clock=lambda: -1.0)
    assert 'max="1" style' in bar._repr_html_()
    assert ">&lt;b&gt;</span>" in bar._repr_html_()
    assert ">waiting</span>" in bar._repr_html_()
    bar._latest = Progress(1, 4, '"<script>alert(1)</script>')
    assert 'value="0.2500"' in bar._repr_html_()
    assert "<script>" not in bar._repr_html_()
    assert '="1/4 (25 %): &quot;&lt;script' in bar._repr_html_()
    bar._latest = Progress(7)
    assert "value=" not in bar._repr_html_()


def test_the_html_is_one_line() -> None:
    """However long label and words are, what stands below does not move; what is cut can be read under the mouse."""
    bar = ProgressBar("l" * 300)
    bar._latest = Progress(1, 4, "m" * 300)
    shown = bar._repr_html_()
    assert "white-space: nowrap" in shown
    assert shown.count("text-overflow: ellipsis") == shown.count("<span") == 2
    assert f'title="{"l" * 300}"' in shown
    assert f'title="1/4 (25 %): {"m" * 300}"' in shown


def test_what_has_failed_has_no_time_left() -> None:
    """It stands in another colour, and says how far it came and not how long it would take."""
    with pytest.raises(KeyError), ProgressBar("file") as bar:
        bar._latest = Progress(1, 4, None, 0.5, 6.0)
        assert repr(bar) == "file: 1/4 (25 %), 0.5/s, 6 s left"
        assert "accent-color" not in bar._repr_html_()
        raise KeyError
    assert repr(bar) == "file: 1/4 (25 %), 0.5/s, failed"
    assert "accent-color" in bar._repr_html_()


def test_an_unknown_total_ends_full() -> None:
    """A bar that moved from side to side stands full when the work is done."""
    with ProgressBar() as bar:
        bar._latest = Progress(7)
    assert 'value="1"' in bar._repr_html_()


def test_sizes() -> None:
    """Transfers count bytes."""
    bar = ProgressBar("file", unit="bytes")
    bar._latest = Progress(1024, 2048)
    assert repr(bar) == "file: 1.0 KiB/2.0 KiB (50 %)"


def test_ipython_updates_one_output(shell: Any) -> None:
    """In IPython one output is shown and then replaced, about ten times a second, and once more at the end."""
    from IPython.utils.capture import capture_output

    clock = Clock()
    with capture_output() as captured:
        with ProgressBar("work", clock=clock) as bar:
            for step in range(1, 9):
                bar(Progress(step, 8))
                clock.now += 0.0625
    outputs = captured.outputs
    texts = [output.data["text/plain"] for output in outputs]
    assert texts == [f"work: {step}/8 ({100 * step / 8:.0f} %)" for step in (1, 3, 5, 7, 8)]
    assert all("<progress" in output.data["text/html"] for output in outputs)
    identities = {output.transient["display_id"] for output in outputs}
    assert len(identities) == 1
    assert [output.update for output in outputs] == [False, True, True, True, True]


@pytest.mark.skipif(sys.platform == "win32", reason="kernels on Windows need another event loop")
def test_a_notebook_cell(tmp_path: Any) -> None:
    """A cell of a notebook calls a tool of a real server and shows its progress; a kernel has a running event loop,
    which troubles a blocking client not at all.
    """
    nbclient = pytest.importorskip("nbclient", reason=NEEDS_KERNEL)
    pytest.importorskip("ipykernel", reason=NEEDS_KERNEL)
    pytest.importorskip("cheroot", reason="the embedded server needs the extra [server]")
    import warnings

    import nbformat

    cell = """
import asyncio
asyncio.get_running_loop()
from streamhttp_client import Client
from streamhttp_client.notebook import ProgressBar
from streamhttp_client.server import Context, Server

server = Server("cell", "1")

@server.tool()
def crunch(rows: int, ctx: Context) -> str:
    for row in range(rows):
        ctx.progress(row + 1, rows)
    return "crunched"

with server.serve() as running, Client(running.url) as client, ProgressBar("crunch") as bar:
    text = client.call_tool("crunch", {"rows": 20}, on_progress=bar).text
text
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the Jupyter packages
        nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    shown, result = notebook.cells[0].outputs
    assert "crunch: 20/20 (100 %)" in shown.data["text/plain"]
    assert 'value="1.0000"' in shown.data["text/html"]
    assert result.data["text/plain"] == "'crunched'"


TRANSFERS = """
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from streamhttp_client import download, upload

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3000000")
        self.end_headers()
        self.wfile.write(bytes(3000000))

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/file.bin"
download(url, PATH, progress=True)
upload(PATH, url, progress=True)
server.shutdown()
server.server_close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kernels on Windows need another event loop")
@pytest.mark.parametrize("widgets", [True, False])
def test_transfers_in_a_notebook_cell(tmp_path: Any, widgets: bool) -> None:
    """``progress=True`` shows tqdm's widget for each of them, full in the end; text where there are no widgets."""
    nbclient = pytest.importorskip("nbclient", reason=NEEDS_KERNEL)
    pytest.importorskip("ipykernel", reason=NEEDS_KERNEL)
    pytest.importorskip("tqdm", reason="progress=True needs the extra [progress]")
    if widgets:
        pytest.importorskip("ipywidgets", reason="tqdm's widget is one of ipywidgets: pip install ipywidgets")
    import warnings

    import nbformat

    path = tmp_path / "file.bin"
    hide = "" if widgets else "import importlib.util\nimportlib.util.find_spec = lambda name, package=None: None\n"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"PATH = {str(path)!r}\n{hide}{TRANSFERS}")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the Jupyter packages
        client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3")
        client.execute()
    assert path.stat().st_size == 3_000_000
    outputs = notebook.cells[0].outputs
    if not widgets:
        text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
        assert text.count("100%") >= 2 and "file.bin" in text
        return
    shown = [output.data for output in outputs if output.output_type == "display_data"]
    assert len([data for data in shown if "application/vnd.jupyter.widget-view+json" in data]) == 2
    states = list(client.widget_state.values())
    bars = [state for state in states if state.get("_model_name") == "FloatProgressModel"]
    assert [(bar["value"], bar["max"], bar["bar_style"]) for bar in bars] == [(3_000_000, 3_000_000, "success")] * 2
    assert any("2.86M" in state.get("value", "") for state in states if state.get("_model_name") == "HTMLModel")
