"""A server asks during a call, and the answer comes later: from another process, on another day.

A web service has no user at hand when a tool asks something. It puts the answer off, stores the question, shows it on a
page, and goes on with the call when the form comes back. Since revision 2026-07-28 no connection waits meanwhile.
"""

from typing import Any

from workshop import endpoint

from streamhttp_client import Client, InputRequired

stored: list[str] = []  # in a real service: a row in the database. It may be private: keep it so


def later(question: Any) -> Any:
    """Nobody is there to answer now."""
    return NotImplemented


def show(request: Any) -> dict[str, Any]:
    return {"role": "assistant", "model": "none", "content": {"type": "text", "text": "Dear all, all is well."}}


# What the page can answer is declared to the server, in each request.
options: dict[str, Any] = {"elicitation": later, "sampling": show, "roots": ["file:///tmp/letters"]}

with endpoint() as url:
    with Client(url, **options) as client:
        try:
            client.call_tool("write_letter", {"topic": "the weather"})
        except InputRequired as required:
            stored.append(required.to_json())

    required = InputRequired.from_json(stored.pop())
    for key, question in required.requests.items():
        print(f"{key}: {question['params']['message']}")

    with Client(url, **options) as client:
        answers = {key: {"action": "accept", "content": {"name": "Ada"}} for key in required.requests}
        print(client.continue_call(required, answers).text)
