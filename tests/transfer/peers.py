"""Real file servers for the transfer tests: nginx, Apache and the tus server of npm, each in its own folder.

A server that is not installed skips the tests that need it, with a message that says how to get it; with ``CI=true``
it fails them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 10.0


def missing(what: str, how: str) -> NoReturn:
    import pytest  # not above: the benchmarks measure memory, and are themselves the floor of what they can see

    text = f"{what} is not installed: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def find_program(name: str, how: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        missing(name, how)
    return path


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Connect until somebody answers; the bound is for a machine that is very busy."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            threading.Event().wait(0.02)
    text = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise AssertionError(f"{process.args!r} did not come up: {text}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


NGINX = """
    daemon off;
    pid {base}/nginx.pid;
    error_log {base}/error.log;
    worker_processes 1;
    {user}
    events {{ worker_connections 256; }}
    http {{
        access_log off;
        client_max_body_size 0;
        client_body_temp_path {base}/tmp_body;
        proxy_temp_path {base}/tmp_proxy;
        fastcgi_temp_path {base}/tmp_fastcgi;
        uwsgi_temp_path {base}/tmp_uwsgi;
        scgi_temp_path {base}/tmp_scgi;
        limit_req_zone $binary_remote_addr zone=one:1m rate=1r/s;
        server {{
            listen 127.0.0.1:{port};
            location / {{ root {root}; }}
            location /gzip/ {{
                alias {root}/;
                gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.1;
            }}
            location /slow/ {{ alias {root}/; limit_rate 256k; }}
            location /norange/ {{ alias {root}/; max_ranges 0; }}
            location /noetag/ {{ alias {root}/; etag off; }}
            location /named/ {{
                alias {root}/;
                add_header Content-Disposition 'attachment; filename="../../evil/../re:port.txt"';
            }}
            location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
            location /busy/ {{
                alias {root}/;
                limit_req zone=one;
                add_header Retry-After 1 always;
            }}
            location /dav/ {{
                root {base};
                dav_methods PUT DELETE;
                create_full_put_path on;
                limit_req_status 503;
            }}
            location /small/ {{ root {base}; dav_methods PUT; create_full_put_path on; client_max_body_size 1k; }}
            location /busydav/ {{
                root {base};
                dav_methods PUT;
                create_full_put_path on;
                limit_req zone=one;
                add_header Retry-After 1 always;
            }}
        }}
    }}
"""


@contextlib.contextmanager
def nginx(base: Path) -> Iterator[str]:
    """Run nginx over the files in ``base / "root"``; gives the origin. ``/dav/`` is ``base / "dav"``."""
    program = find_program("nginx", "apt-get install nginx-core")
    root = base / "root"
    root.mkdir(exist_ok=True)
    with socket.socket() as listener:
        # nginx takes over a listening socket that is named in its environment, so that nobody else can get the port.
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""
        config = base / "nginx.conf"
        config.write_text(textwrap.dedent(NGINX).format(base=base, root=root, port=port, user=user))
        process = subprocess.Popen(
            [program, "-e", str(base / "error.log"), "-c", str(config)],
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
    try:
        _wait_listening(port, process, base / "error.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


APACHE = """
    ServerRoot {base}
    Listen 127.0.0.1:{port}
    ServerName localhost
    PidFile {base}/apache.pid
    ErrorLog {base}/error.log
    DefaultRuntimeDir {base}
    LoadModule mpm_event_module {modules}/mod_mpm_event.so
    LoadModule authz_core_module {modules}/mod_authz_core.so
    LoadModule deflate_module {modules}/mod_deflate.so
    LoadModule filter_module {modules}/mod_filter.so
    LoadModule alias_module {modules}/mod_alias.so
    {user}
    DocumentRoot {root}
    Alias /gzip {root}
    <Location /gzip>
        SetOutputFilter DEFLATE
    </Location>
"""


@contextlib.contextmanager
def apache(base: Path) -> Iterator[str]:
    """Run Apache over the files in ``base / "root"``; gives the origin."""
    program = find_program("apache2", "apt-get install apache2-bin")
    modules = Path("/usr/lib/apache2/modules")
    if not modules.is_dir():
        missing("Apache with its modules", "apt-get install apache2-bin")
    root = base / "root"
    root.mkdir(exist_ok=True)
    port = _free_port()
    # It would refuse to serve as root.
    user = "User www-data\n    Group www-data" if os.geteuid() == 0 else ""
    config = base / "apache.conf"
    config.write_text(textwrap.dedent(APACHE).format(base=base, root=root, port=port, modules=modules, user=user))
    process = subprocess.Popen([program, "-f", str(config), "-DFOREGROUND"], stderr=subprocess.DEVNULL)
    try:
        _wait_listening(port, process, base / "error.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


TUS = """
    import http from 'node:http'
    import {{ Server }} from '@tus/server'
    import {{ FileStore }} from '@tus/file-store'
    const datastore = new FileStore({{ directory: {folder!r}, expirationPeriodInMilliseconds: {expiry} }})
    const server = new Server({{ path: '/files', datastore, respectForwardedHeaders: false {options} }})
    const listener = http.createServer(server.handle.bind(server))
    listener.listen({port}, '127.0.0.1', () => console.log('ready'))
"""


class TusServer:
    """npm ``@tus/server`` with a file store; it can be killed and started again over the same files and port."""

    def __init__(self, base: Path, expiry_ms: int = 0, options: str = "") -> None:
        self.folder = base / "uploads"
        self.folder.mkdir(exist_ok=True)
        self.port = _free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/files"
        peers = Path(os.environ.get("STREAMHTTP_PEERS") or ROOT / ".ci/cache/peers") / "npm"
        if not (peers / "node_modules/@tus/server").is_dir() or not (peers / "node_modules/@tus/file-store").is_dir():
            missing("the npm package @tus/server", "run .ci/peers")
        self._node = find_program("node", "install Node.js 20.19 or later")
        # A module finds its packages beside the folder it lies in.
        self._script = peers / f"tus-{os.getpid()}-{self.port}.mjs"
        self._script.write_text(
            textwrap.dedent(TUS).format(folder=str(self.folder), expiry=expiry_ms, port=self.port, options=options)
        )
        self._log = base / "tus.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen([self._node, str(self._script)], stdout=log, stderr=log)
        _wait_listening(self.port, self._process, self._log)

    def kill(self) -> None:
        """SIGKILL, as when the machine goes down."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOP_SECONDS)

    def stored(self, upload_url: str) -> bytes:
        return (self.folder / upload_url.rpartition("/")[2]).read_bytes()

    def __enter__(self) -> TusServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._script.unlink(missing_ok=True)


TUS_IN_PYTHON = """
    import sys
    import uvicorn
    from fastapi import FastAPI
    from tuspyserver import create_tus_router
    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=sys.argv[1]))
    uvicorn.run(app, fd=int(sys.argv[2]), log_level="warning")
"""


@contextlib.contextmanager
def python_tus(base: Path) -> Iterator[str]:
    """Run tuspyserver, which joins uploads as ``@tus/server`` does not, over files in ``base``; gives the endpoint."""
    import pytest

    peers = Path(os.environ.get("STREAMHTTP_PEERS") or ROOT / ".ci/cache/peers") / "tus"
    if not (peers / "bin/python").exists():
        pytest.skip(f"{peers} is no virtual environment with tuspyserver and uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as listener, open(base / "tus.log", "ab") as log:
        process = subprocess.Popen(
            [str(peers / "bin/python"), "-c", textwrap.dedent(TUS_IN_PYTHON), str(base), str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        port = listener.getsockname()[1]
    try:
        _wait_listening(port, process, base / "tus.log")
        yield f"http://127.0.0.1:{port}/files/"
    finally:
        _end(process)


def spawn(code: str, *arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    """Run Python code in a process of its own, with our package on its path."""
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=stdin,
        stdout=subprocess.PIPE,
    )
