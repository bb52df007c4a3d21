"""Connect, look around, call a tool."""

from workshop import endpoint

from streamhttp_client import Client, ToolError

with endpoint() as url, Client(url, timeout=60) as client:
    info = client.session.server_info
    print(f"{info.name} {info.version} speaks {client.session.protocol_version}")

    for tool in client.list_tools():
        print(f"- {tool.name}: {tool.description}")

    result = client.call_tool("crunch", {"rows": 10})
    print(result.text)  # for people: the text blocks, joined
    print(result.data["total"])  # for programs: the structured value

    try:
        client.call_tool("crunch", {"rows": "many"})
    except ToolError as error:
        print(f"refused: {error}")
