"""A tool that takes long becomes a task; another process collects its result.

All that passes from one to the other is the id of the task. This is how long work is done since revision 2026-07-28,
where a stream that breaks cannot be taken up again.
"""

import subprocess
import sys

from workshop import endpoint

from streamhttp_client import Client


def begin(url: str) -> None:
    """Start the tool, print the id of the task, and leave."""
    with Client(url) as client:
        task = client.call_tool_as_task("dig", {"metres": 5})
        print(task.task_id)


def finish(url: str, task_id: str) -> None:
    """See how the task stands, and wait for its end."""
    with Client(url) as client:
        print("the task is", client.get_task(task_id).status)
        print(client.wait_task(task_id).text)


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if len(sys.argv) > 2:
    mode, *arguments = sys.argv[1:]
    (begin if mode == "begin" else finish)(*arguments)
else:
    with endpoint() as url:
        print(run("finish", url, run("begin", url)))
