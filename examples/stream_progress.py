"""Follow a long call: with a callback, or as an iterator."""

from workshop import endpoint

from streamhttp_client import Client, LogMessage, Progress


def show(progress: Progress) -> None:
    """Called on this thread, while call_tool() waits."""
    left = "" if progress.eta is None else f", {progress.eta:.1f} s left"
    print(f"{progress.progress:.0f} of {progress.total:.0f}{left}")


with endpoint() as url, Client(url) as client:
    print(client.call_tool("crunch", {"rows": 5}, on_progress=show).text)

    # The same as an iterator. Leaving the block early would cancel the call.
    with client.stream_tool("crunch", {"rows": 5}) as call:
        for event in call:
            if isinstance(event, Progress):
                print(event.message)
            elif isinstance(event, LogMessage):
                print(f"[{event.level}] {event.data}")
        print(call.result.data)
