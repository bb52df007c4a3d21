"""All benchmarks, one after the other: ``python -m tests.benchmarks [NAME …]``, by default calls, sse and eventsource.

Each prints tables with ratios that were measured side by side, and runs in a process of its own. Peers are taken from
the interpreter that runs this; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

_NAMES = ("calls", "sse", "eventsource", "transfers", "server")
# The last two need other programs (nginx, curl, uvicorn) and minutes.
_USUAL = _NAMES[:3]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(_NAMES)}")
    names = parser.parse_args().names or list(_USUAL)
    if unknown := set(names) - set(_NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    return max(subprocess.call([sys.executable, "-m", f"tests.benchmarks.bench_{name}"]) for name in names)


if __name__ == "__main__":
    sys.exit(main())
