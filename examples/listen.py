"""Hear what a server says without being asked, on a thread of its own."""

import threading

from workshop import endpoint

from streamhttp_client import Client

heard = threading.Event()


def hear(event: object) -> None:
    """Called on the listener's thread. To read on your own thread, iterate ``client.listen()`` instead."""
    print(f"heard: {event}")
    heard.set()


with endpoint() as url, Client(url) as client:
    client.subscribe_resource("workshop://board")
    with client.listen(hear) as listener:
        if not listener.wait_open():  # what is sent before that, nobody hears
            raise SystemExit("this server has no listening stream")
        print(client.call_tool("wipe_board").text)
        heard.wait(10)
    print(client.read_resource("workshop://board").text)
