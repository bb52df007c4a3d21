"""A job that is tried again, as Celery or RQ do it, goes on with the call that it began instead of beginning anew.

A worker should not sit and wait for a tool that thinks for an hour. Here it waits half a second for the next sign of
life, stores where the call stands, and gives the job back to the queue. The tool works on meanwhile.

A call can be taken up by its cursor in the revisions up to 2025-11-25, which is why one is named here.
"""

import json

from workshop import endpoint

from streamhttp_client import Client, ConnectionLost, RetryPolicy, Timeout

store: dict[str, str] = {}  # in a real service: Redis, or the row of the job


class TryAgain(Exception):
    """What ``raise self.retry(countdown=60)`` does in Celery."""


def job(url: str, key: str) -> str:
    """Call a slow tool once, over as many attempts as it takes."""
    # A silence of half a second counts as broken, and this attempt does not reconnect by itself.
    options = {"timeout": Timeout(read=0.5), "retry": RetryPolicy(attempts=1), "end_session": False}
    if key in store:
        saved = json.loads(store[key])
        client = Client.resume(saved["session"], url=url, **options)
        call = client.stream_call(saved["cursor"])
    else:
        client = Client(url, protocol="2025-11-25", **options)
        call = client.stream_tool("ponder", {"seconds": 1.2})
    with client:
        try:
            return call.result.text
        except ConnectionLost as lost:
            if lost.cursor is None:  # it cannot be resumed; see lost.may_have_executed before calling again
                raise
            store[key] = json.dumps({"session": client.session.to_json(), "cursor": lost.cursor.to_json()})
            raise TryAgain from lost


with endpoint() as url:
    for attempt in range(1, 20):
        try:
            print(f"attempt {attempt}: the answer is {job(url, 'job-1')}")
            break
        except TryAgain:
            print(f"attempt {attempt}: not yet")
