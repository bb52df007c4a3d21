"""One client for all threads of a service, as in a Flask or Django process with a pool of threads.

The client is made once, when the module is imported, and connects with the first call. It may be made before a server
such as gunicorn forks: each process then makes connections of its own.
"""

import atexit
from concurrent.futures import ThreadPoolExecutor

from workshop import endpoint

from streamhttp_client import Client, StreamHTTPError


def handle_request(client: Client, number: int) -> str:
    """What a view function would do: call, with a limit of its own, and turn a failure into an answer."""
    try:
        result = client.call_tool("crunch", {"rows": number, "seconds": 0.2}, timeout=10)
    except StreamHTTPError as error:  # the root of all errors of this package
        return f"502 {error}"
    return f"200 the sum of 1 to {number} is {result.data['total']}"


with endpoint() as url:
    client = Client(url)
    atexit.register(client.close)  # does nothing if it was closed before
    with ThreadPoolExecutor(max_workers=8) as pool:
        for answer in pool.map(lambda number: handle_request(client, number), range(1, 17)):
            print(answer)
    client.close()
