"""The server that the public conformance suite tries; ``app`` is the same for gunicorn.

``python -m tests.conformance.server`` prints its URL and runs until its standard input ends.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Annotated, Any

from streamhttp_client.exceptions import RPCError, ToolError
from streamhttp_client.server import Blob, Context, Header, Server

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
)
WAV = b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\2\0\0\0\0\0"

# The suite looks for pauses of this length, in seconds, between messages of one call.
PAUSE = 0.05

ADDRESS_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def embedded(uri: str, media_type: str, text: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": media_type, "text": text}}


def titled(*titles: str) -> list[dict[str, str]]:
    return [{"const": f"value{number}", "title": title} for number, title in enumerate(titles, 1)]


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": []}


def make_server() -> Server:
    """Everything that the suite asks for."""
    server = Server("conformance", "1.0.0")
    add_content_tools(server)
    add_interactive_tools(server)
    add_changing_tools(server)
    add_rounds(server)
    add_tasks(server)
    add_resources(server)
    add_prompts(server)
    return server


def add_content_tools(server: Server) -> None:
    @server.tool(description="Returns a text.")
    def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @server.tool(description="Returns an image.")
    def test_image_content() -> Blob:
        return Blob(PNG, "image/png")

    @server.tool(description="Returns a sound.")
    def test_audio_content() -> Blob:
        return Blob(WAV, "audio/wav")

    @server.tool(description="Returns a resource.")
    def test_embedded_resource() -> Any:
        return embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")

    @server.tool(description="Returns a text, an image and a resource.")
    def test_multiple_content_types() -> Any:
        data = json.dumps({"test": "data", "value": 123}, separators=(",", ":"))
        resource = embedded("test://mixed-content-resource", "application/json", data)
        return ["Multiple content types test:", Blob(PNG, "image/png"), resource]

    @server.tool(description="Fails.")
    def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(description="Has a schema of 2020-12.", input_schema=ADDRESS_SCHEMA)
    def json_schema_2020_12_tool(**arguments: Any) -> str:
        return json.dumps(arguments)


def add_interactive_tools(server: Server) -> None:
    @server.tool(description="Logs while it works.")
    def test_tool_with_logging(ctx: Context) -> str:
        ctx.log("info", "Tool execution started")
        time.sleep(PAUSE)
        ctx.log("info", "Tool processing data")
        time.sleep(PAUSE)
        ctx.log("info", "Tool execution completed")
        return "logged"

    @server.tool(description="Reports progress while it works.")
    def test_tool_with_progress(ctx: Context) -> str:
        for done in (0, 50, 100):
            ctx.progress(done, 100)
            time.sleep(PAUSE)
        return "done"

    @server.tool(description="Asks the client's model.")
    def test_sampling(prompt: str, ctx: Context) -> str:
        return f"LLM response: {ctx.ask_sampling(prompt, max_tokens=100).text}"

    @server.tool(description="Asks the user.")
    def test_elicitation(message: str, ctx: Context) -> str:
        answer = ctx.elicit(
            message,
            {
                "type": "object",
                "properties": {
                    "username": {"type": "string", "description": "User's response"},
                    "email": {"type": "string", "description": "User's email address"},
                },
                "required": ["username", "email"],
            },
        )
        return f"User response: action={answer.action}, content={json.dumps(answer.content)}"

    @server.tool(description="Asks the user, with defaults.")
    def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        answer = ctx.elicit(
            "Please check the values.",
            form(
                name={"type": "string", "default": "John Doe"},
                age={"type": "integer", "default": 30},
                score={"type": "number", "default": 95.5},
                status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                verified={"type": "boolean", "default": True},
            ),
        )
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"

    @server.tool(description="Asks the user to choose.")
    def test_elicitation_sep1330_enums(ctx: Context) -> str:
        options = ["option1", "option2", "option3"]
        names = ["Option One", "Option Two", "Option Three"]
        several = {"type": "array", "minItems": 1, "maxItems": 3}
        answer = ctx.elicit(
            "Please choose.",
            form(
                untitledSingle={"type": "string", "enum": options},
                titledSingle={
                    "type": "string",
                    "oneOf": titled("First Option", "Second Option", "Third Option"),
                },
                legacyEnum={"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": names},
                untitledMulti={**several, "items": {"type": "string", "enum": options}},
                titledMulti={
                    **several,
                    "items": {"anyOf": titled("First Choice", "Second Choice", "Third Choice")},
                },
            ),
        )
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"

    @server.tool(description="Closes the connection and goes on.")
    def test_reconnection(ctx: Context) -> str:
        ctx.close_connection(retry_ms=200)
        time.sleep(2 * PAUSE)
        return "reconnected"


def add_changing_tools(server: Server) -> None:
    """What only the revision of 2026-07-28 is asked for: headers, capabilities and changes that can be heard."""

    @server.tool(description="Has an argument that is sent in a header.")
    def test_custom_header(region: Annotated[str, Header("Region")] = "") -> str:
        return region

    @server.tool(description="Needs the client's model.")
    def test_missing_capability(ctx: Context) -> str:
        return ctx.ask_sampling("Are you there?", max_tokens=10).text

    @server.tool(description="Asks the user, on a stream.")
    def test_streaming_elicitation(ctx: Context) -> str:
        return ctx.elicit("Go on?").action

    @server.tool(description="Logs, if the client wants to hear it.")
    def test_logging_tool(ctx: Context) -> str:
        ctx.log("info", "working")
        return "logged"

    @server.tool(description="Changes the list of tools.")
    def test_trigger_tool_change() -> str:
        server.notify_list_changed("tools")
        return "changed"

    @server.tool(description="Changes the list of prompts.")
    def test_trigger_prompt_change() -> str:
        server.notify_list_changed("prompts")
        return "changed"


NAME_FORM = form(name={"type": "string"}) | {"required": ["name"]}
OK_FORM = form(ok={"type": "boolean"}) | {"required": ["ok"]}
COLOR_FORM = form(color={"type": "string"}) | {"required": ["color"]}
CONTEXT_FORM = form(context={"type": "string"}) | {"required": ["context"]}


def add_rounds(server: Server) -> None:
    """Tools that ask for something, under the keys that the suite expects."""

    @server.tool(description="Asks for a name.")
    def test_input_required_result_elicitation(ctx: Context) -> str:
        answer = ctx.elicit("What is your name?", NAME_FORM, key="user_name")
        return f"Hello, {(answer.content or {}).get('name')}!"

    @server.tool(description="Asks the client's model.")
    def test_input_required_result_sampling(ctx: Context) -> str:
        return ctx.ask_sampling("What is the capital of France?", max_tokens=100, key="capital_question").text

    @server.tool(description="Asks for the roots.")
    def test_input_required_result_list_roots(ctx: Context) -> str:
        return ", ".join(root.uri for root in ctx.roots(key="client_roots"))

    @server.tool(description="Asks once, with a state.")
    def test_input_required_result_request_state(ctx: Context) -> str:
        ctx.elicit("Please confirm", OK_FORM, key="confirm")
        return "state-ok"

    @server.tool(description="Refuses a state that was changed.")
    def test_input_required_result_tampered_state(ctx: Context) -> str:
        ctx.elicit("Please confirm", OK_FORM, key="confirm")
        return "state-ok"

    @server.tool(description="Asks three things at once.")
    def test_input_required_result_multiple_inputs(ctx: Context) -> str:
        question = {"role": "user", "content": {"type": "text", "text": "Generate a greeting"}}
        answers = ctx.ask(
            {
                "user_name": {
                    "method": "elicitation/create",
                    "params": {"message": "What is your name?", "requestedSchema": NAME_FORM},
                },
                "greeting": {
                    "method": "sampling/createMessage",
                    "params": {"messages": [question], "maxTokens": 50},
                },
                "client_roots": {"method": "roots/list"},
            }
        )
        return ", ".join(answers)

    @server.tool(description="Asks in two rounds.")
    def test_input_required_result_multi_round(ctx: Context) -> str:
        name = ctx.elicit("Step 1: What is your name?", NAME_FORM, key="step1")
        color = ctx.elicit("Step 2: What is your favorite color?", COLOR_FORM, key="step2")
        return f"{(name.content or {}).get('name')} likes {(color.content or {}).get('color')}"

    @server.tool(description="Asks what the client can be asked.")
    def test_input_required_result_capabilities(ctx: Context) -> str:
        if ctx.session.can("elicitation"):
            ctx.elicit("What is your name?", NAME_FORM)
        return ctx.ask_sampling("Generate a greeting", max_tokens=50).text if ctx.session.can("sampling") else "nothing"

    @server.prompt(description="Asks for its context.")
    def test_input_required_result_prompt(ctx: Context) -> str:
        answer = ctx.elicit("What context should the prompt use?", CONTEXT_FORM, key="user_context")
        return f"Use this: {(answer.content or {}).get('context')}"


def add_tasks(server: Server) -> None:
    """Tools of the tasks extension, by the names that the suite expects."""

    @server.tool(description="Greets at once.")
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    @server.tool(description="Takes its time.", task=True)
    def slow_compute(ctx: Context, seconds: float = 0, label: str = "") -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not ctx.cancelled:
            time.sleep(PAUSE)
        return f"computed {label}"

    @server.tool(description="Fails.", task="required")
    def failing_job() -> str:
        time.sleep(PAUSE)
        raise ToolError("this job always fails")

    @server.tool(description="Fails outside of the tool.", task=True)
    def protocol_error_job() -> str:
        raise RPCError("this job breaks", code=-32603)

    @server.tool(description="Asks before it deletes.", task=True)
    def confirm_delete(filename: str, ctx: Context) -> str:
        answer = ctx.elicit(f"Delete {filename}?", form(confirm={"type": "boolean"}))
        return f"{filename}: {answer.action}"

    @server.tool(description="Asks two things at once.", task=True)
    def multi_input(ctx: Context) -> str:
        question = {"method": "elicitation/create", "params": {"message": "Well?", "requestedSchema": form()}}
        return ", ".join(ctx.ask({"first": question, "second": question}))

    @server.tool(description="Asks first, and then becomes a task.")
    def test_tool_with_task(ctx: Context) -> str:
        answer = ctx.elicit("What is your name?", NAME_FORM, key="user_name")
        ctx.start_task(required=True)
        return f"Hello, {(answer.content or {}).get('name')}!"


def add_resources(server: Server) -> None:
    @server.resource("test://static-text", name="Static text", media_type="text/plain")
    def static_text() -> str:
        """A text that stays."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", name="Static binary", media_type="image/png")
    def static_binary() -> bytes:
        """An image that stays."""
        return PNG

    @server.resource("test://template/{id}/data", name="Template", media_type="application/json")
    def template(id: str) -> Any:
        """Data by id."""
        return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}

    @server.resource("test://watched-resource", name="Watched", media_type="text/plain")
    def watched() -> str:
        """A text to subscribe to."""
        return "Watched resource content"


def add_prompts(server: Server) -> None:
    @server.prompt(description="A prompt without arguments.")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="A prompt with arguments.")
    def test_prompt_with_arguments(
        arg1: Annotated[str, "First test argument"], arg2: Annotated[str, "Second test argument"]
    ) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="A prompt with a resource in it.")
    def test_prompt_with_embedded_resource(resourceUri: Annotated[str, "URI of the resource"]) -> Any:
        resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [resource, "Please process the embedded resource above."]

    @server.prompt(description="A prompt with an image in it.")
    def test_prompt_with_image() -> Any:
        return [Blob(PNG, "image/png"), "Please analyze the image above."]

    @server.completion(prompt="test_prompt_with_arguments", argument="arg1")
    def complete_arg1(typed: str, known: dict[str, str]) -> list[str]:
        return [word for word in ("testing", "tested", "paris") if word.startswith(typed)]


app = make_server().wsgi("/mcp")


def main() -> None:
    with make_server().serve(path="/mcp") as running:
        print(running.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
