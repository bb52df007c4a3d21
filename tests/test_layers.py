"""Which part of the package may import which: data flows one way, and foreign packages have few homes.

The rows are those of the package's design, lowest first. A module imports only from rows above its own, never
sideways between wings.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import streamhttp_client

ROOT = Path(streamhttp_client.__file__).parent
PACKAGE = "streamhttp_client"

_FOUNDATION = {"exceptions", "progress", "_record", "_headers", "_version"}
_PURE = _FOUNDATION | {"sse", "jsonrpc", "protocol"}
_NETWORK = _FOUNDATION | {"sse", "net"}

# Part of the package -> the parts that it may import. `__init__` stands for the package itself: nothing imports it.
ALLOWED = {
    "__init__": _FOUNDATION | {"sse", "client", "net", "protocol", "eventsource", "transfer", "auth"},
    "__main__": {"cli"},
    # L0: plain values, the root of everything
    "exceptions": set(),
    "_record": set(),
    "_version": set(),
    "_headers": {"exceptions"},
    "progress": {"_record"},
    # L1: pure, and they know nothing of each other
    "sse": _FOUNDATION,
    "jsonrpc": _FOUNDATION,
    # L2: pure MCP
    "protocol": _FOUNDATION | {"sse", "jsonrpc"},
    # L3: bytes and policies, no MCP
    "net": _FOUNDATION,
    # L4: wings on the network. Those for any HTTP service know no MCP
    "eventsource": _NETWORK,
    "transfer": _NETWORK,
    "auth": _PURE | {"net"},
    "transport": _PURE | {"net"},
    # L5
    "client": _PURE | {"net", "transport", "auth"},
    # beside the client, on the pure layers alone
    "server": _PURE,
    # L6: nothing imports them
    "cli": _PURE | {"display", "net", "eventsource", "transfer", "auth", "transport", "client", "server"},
    "notebook": _FOUNDATION | {"display"},
    "display": _FOUNDATION,
    "testing": _PURE | {"net", "eventsource", "transfer", "auth", "transport", "client", "server"},
}

# The dependencies of the core. All else that is not in the standard library is an extra.
CORE = {"requests", "urllib3", "tenacity", "certifi", "typing_extensions"}
# Packages that have one home. `requests` may be named in annotations of the parts that take a session or an auth.
NETWORKING = {"requests", "urllib3", "tenacity", "certifi"}
NAMES_REQUESTS = {"client", "eventsource", "transfer", "auth", "transport"}
# What pure code does without.
IMPURE = {
    "asyncio", "http", "multiprocessing", "os", "queue", "random", "secrets", "select", "selectors", "socket", "ssl",
    "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip


class Import(NamedTuple):
    """One import statement, or one name of it.

    Attributes:
        source: The module that imports, as ``client.call``.
        target: A module of ours in that form, or the top name of a foreign one.
        ours: Whether it is one of ours.
        at_top: It runs when the module is imported.
        typing_only: It stands under ``if TYPE_CHECKING``.
    """

    source: str
    target: str
    ours: bool
    at_top: bool
    typing_only: bool

    @property
    def arrow(self) -> str:
        return f"{self.source} -> {self.target}"


def part(module: str) -> str:
    """The first name of a module inside the package."""
    return module.partition(".")[0]


def modules() -> dict[str, ast.Module]:
    """Every module of the package, parsed."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name] = ast.parse(path.read_text("utf-8"), str(path))
    return found


MODULES = modules()


def imports(source: str, tree: ast.Module) -> Iterator[Import]:
    """Every import in a module, wherever it stands."""

    def walk(node: ast.AST, at_top: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield make(alias.name, at_top, typing_only)
            elif isinstance(child, ast.ImportFrom):
                for name in named(child):
                    yield make(name, at_top, typing_only)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for statement in child.body:
                    yield from walk(ast.Module([statement], []), at_top, True)
                for statement in child.orelse:
                    yield from walk(ast.Module([statement], []), at_top, typing_only)
            else:
                yield from walk(child, at_top and not inside, typing_only)

    def named(node: ast.ImportFrom) -> Iterator[str]:
        base = node.module or ""
        if node.level:
            here = [PACKAGE, *source.split(".")]
            base = ".".join([*here[: -node.level], *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{base}.{alias.name}".removeprefix(f"{PACKAGE}.")
            # `from . import calls` names a module, `from .calls import X` something in one.
            yield f"{PACKAGE}.{inner}" if inner in MODULES or f"{inner}.__init__" in MODULES else base

    def make(name: str, at_top: bool, typing_only: bool) -> Import:
        top, _, rest = name.partition(".")
        if top != PACKAGE:
            return Import(source, top, False, at_top, typing_only)
        target = rest or "__init__"
        return Import(
            source, target if target in MODULES else f"{target}.__init__", True, at_top, typing_only
        )

    yield from walk(tree, True, False)


IMPORTS = [found for source, tree in MODULES.items() for found in imports(source, tree)]
OURS = [found for found in IMPORTS if found.ours]
FOREIGN = [found for found in IMPORTS if not found.ours and found.target not in sys.stdlib_module_names]


def test_every_part_has_a_row() -> None:
    """A new part of the package needs a place in the design first."""
    assert {part(name) for name in MODULES} <= set(ALLOWED)


def test_the_walk_finds_what_there_is() -> None:
    """The walk sees relative imports, lazy ones and those for annotations; else the tests below would prove nothing."""
    arrows = {found.arrow for found in IMPORTS}
    assert {"client.client -> net.http", "client.client -> requests", "net.http -> requests"} <= arrows
    assert any(not found.at_top for found in OURS) and any(found.typing_only for found in OURS)
    targets = {found.target for found in OURS}
    assert targets <= set(MODULES), f"no such modules: {targets - set(MODULES)}"


@pytest.mark.parametrize("name", sorted({part(name) for name in MODULES}))
def test_imports_follow_the_layers(name: str) -> None:
    """No arrow but those of the design, not even a lazy one or one for annotations."""
    wrong = [
        found.arrow
        for found in OURS
        if part(found.source) == name and part(found.target) != name and part(found.target) not in ALLOWED[name]
    ]
    assert wrong == []


def test_the_server_and_the_client_do_not_know_each_other() -> None:
    """Whoever runs one half does not load the other."""
    halves = ({"server"}, {"client", "transport", "net", "auth", "eventsource", "transfer"})
    wrong = [
        found.arrow
        for found in OURS
        for here, there in (halves, halves[::-1])
        if part(found.source) in here and part(found.target) in there
    ]
    assert wrong == []


def test_nothing_imports_what_stands_on_top() -> None:
    """Command line, notebook display and test helpers are for users alone."""
    top = {"cli", "notebook", "testing"}
    wrong = [
        found.arrow
        for found in OURS
        if part(found.target) in top and part(found.source) not in (part(found.target), "__main__")
    ]
    wrong += [
        found.arrow
        for found in OURS
        if found.target == "display" and part(found.source) not in ("cli", "notebook")
    ]
    assert wrong == []


def test_lazy_public_names_follow_the_layers_too() -> None:
    """Names that the package imports when they are first used come from where its own imports may go."""
    homes = {part(home) for home in streamhttp_client._HOMES.values()}
    assert homes <= ALLOWED["__init__"]


def test_the_network_libraries_have_one_home() -> None:
    """requests, urllib3 and tenacity live in ``net``; others may only name ``requests`` in annotations."""
    wrong = [
        found.arrow
        for found in FOREIGN
        if found.target in NETWORKING
        and part(found.source) != "net"
        and not (found.target == "requests" and found.typing_only and part(found.source) in NAMES_REQUESTS)
    ]
    assert wrong == []


# Modules that cannot be imported without an extra.
NEED_EXTRAS = {found.source for found in FOREIGN if found.target not in CORE and found.at_top and not found.typing_only}


def test_extras_are_imported_where_they_are_used() -> None:
    """What only an extra brings is imported in the function that needs it, or in a module of its own that such a
    function imports: the rest works without it.
    """
    wrong = [
        found.arrow
        for found in OURS
        if found.target in NEED_EXTRAS
        and found.source not in NEED_EXTRAS
        and found.at_top
        and not found.typing_only
    ]
    assert wrong == []


def test_pure_layers_are_pure() -> None:
    """No sockets, threads, clocks, chance or processes below the network: time and ids are arguments."""
    pure = {"exceptions", "_record", "_headers", "sse", "jsonrpc", "protocol"}
    wrong = [found.arrow for found in IMPORTS if part(found.source) in pure and found.target in IMPURE]
    assert wrong == []


def test_nobody_needs_an_event_loop() -> None:
    """The package is blocking, to the last module."""
    assert [found.arrow for found in IMPORTS if found.target in ("asyncio", "anyio", "trio")] == []


def follow(arrows: Iterable[Import]) -> None:
    """Fail on a circle."""
    graph: dict[str, set[str]] = {}
    for found in arrows:
        if found.source != found.target:
            graph.setdefault(found.source, set()).add(found.target)
    # A package runs before what is in it, but says so nowhere; only what it names itself is an edge.
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in sorted(graph.get(name, ())):
            visit(target)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_no_circles() -> None:
    """The imports that run when modules are imported have no circle, so their order never matters."""
    follow(found for found in OURS if found.at_top and not found.typing_only)


@pytest.mark.parametrize("name", ["server", "sse", "net", "eventsource", "transfer"])
def test_the_modules_of_a_part_flow_one_way(name: str) -> None:
    """Nor do these need each other in a circle in any other way: lazily, or for a type."""
    follow(found for found in OURS if part(found.source) == part(found.target) == name)


_IMPORT_ALL = """
import importlib, sys

core = set(sys.argv[1].split(","))

class NoExtras:
    def find_spec(self, name, path=None, target=None):
        if path is None and name not in sys.stdlib_module_names and name not in core:
            raise ModuleNotFoundError(f"no module named {name!r}: this stands for an extra", name=name)

sys.meta_path.insert(0, NoExtras())
for name in sys.argv[2].split(","):
    importlib.import_module(name)
"""


def test_every_module_can_be_imported_without_extras() -> None:
    """Whoever installs the core alone can import all of it; what an extra is needed for says so when it is used."""
    names = [f"{PACKAGE}.{name}".removesuffix(".__init__") for name in MODULES if name not in NEED_EXTRAS]
    # What requests itself stands on, and what the interpreter brings along in a virtual environment.
    core = CORE | {PACKAGE, "charset_normalizer", "chardet", "idna", "simplejson", "brotli", "brotlicffi", "zstandard"}
    program = [sys.executable, "-W", "ignore", "-c", _IMPORT_ALL, ",".join(core), ",".join(names)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
