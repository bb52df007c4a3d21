"""Answer what a server asks during a call: a form for the user, the user's language model, the user's folders.

The functions run on the thread that waits in the call. Only what has a function is declared to the server, so it never
asks for more. Each takes and returns the shapes of the protocol; a plain dict will do for the answer.
"""

from typing import Any

from workshop import endpoint

from streamhttp_client import Client


def ask_user(question: Any) -> dict[str, Any] | None:
    """A real program would show a form here. None declines; what is left out gets the default of the form."""
    print(f"the server asks: {question.message}")
    return {"action": "accept", "content": {}}


def ask_model(request: Any) -> dict[str, Any]:
    """A real program would ask the user for consent, and then a model."""
    prompt = request.messages[0].text
    print(f"the server asks the model: {prompt}")
    return {"role": "assistant", "model": "none", "content": {"type": "text", "text": "Dear all, all is well."}}


with (
    endpoint() as url,
    Client(url, elicitation=ask_user, sampling=ask_model, roots=["file:///tmp/letters"]) as client,
):
    print(client.call_tool("write_letter", {"topic": "the weather"}).text)
