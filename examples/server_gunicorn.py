"""A configuration for gunicorn: ``gunicorn -c examples/server_gunicorn.py --chdir examples server_workers:app``.

Without the two hooks a worker that is told to stop waits for its streams until it is killed, and the calls on it are
lost. With them the streams end at once, with the time after which their clients shall come back, and calls that are
done within the grace leave their results in the store, where the next worker finds them.
"""

from __future__ import annotations

import queue
import signal
import threading
from types import FrameType
from typing import Any

worker_class = "gthread"
workers = 2
# Each open stream keeps a thread.
threads = 64
# Seconds; more than what handlers may take below.
graceful_timeout = 20
# Seconds for which handlers go on as if nothing were, and after which all have ended.
GRACE, LONGEST = 12.0, 15.0


def post_worker_init(worker: Any) -> None:
    """Stand ready to close the application, and do so as soon as the worker is told to stop."""
    before: Any = signal.getsignal(signal.SIGTERM)
    # A signal handler must not wait for a lock, which the code that it interrupts may hold; so a thread stands ready.
    worker.told = queue.SimpleQueue()

    def close_when_told() -> None:
        worker.told.get()
        worker.wsgi.close(LONGEST, grace=GRACE)

    worker.closer = threading.Thread(target=close_when_told, daemon=True)
    worker.closer.start()

    def on_stop(number: int, frame: FrameType | None) -> None:
        worker.told.put(number)
        before(number, frame)

    signal.signal(signal.SIGTERM, on_stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Let calls end and their results reach the store, then say goodbye to it."""
    app = getattr(worker, "wsgi", None)
    if app is not None:  # else it could not be imported, which gunicorn has said already
        worker.told.put(0)  # if no signal came; closing twice could take longer than a worker has
        worker.closer.join()
        app.store.close()
