"""A naive parser that follows the text of the standard step by step, for the real one to be compared with.

WHATWG HTML, 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event stream". It takes the whole
stream at once and shares no code with the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Reference:
    """What a stream means."""

    events: list[tuple[str, str, str]] = field(default_factory=list)
    """(type, data, last event id) of each dispatched event."""
    last_event_id: str = ""
    retry_ms: int | None = None


def lines_of(text: str) -> list[str]:
    """Split a stream into its finished lines; CR, LF and CRLF end one."""
    lines = []
    line = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\r" or character == "\n":
            if character == "\r" and text[position : position + 1] == "\n":
                position += 1
            lines.append(line)
            line = ""
        else:
            line += character
    return lines


def interpret(stream: bytes, *, last_event_id: str = "", max_retry_digits: int = 15) -> Reference:
    """Return what ``stream`` means.

    Two things go beyond the standard: the id buffer begins with the id of the connection before, and retry
    values of more digits than a parser can be made to keep are ignored.
    """
    text = stream.decode("utf-8", "replace")
    if text.startswith("\ufeff"):
        text = text[1:]
    result = Reference(last_event_id=last_event_id)
    data_buffer = ""
    event_type_buffer = ""
    last_event_id_buffer = last_event_id
    for line in lines_of(text):
        if line == "":
            result.last_event_id = last_event_id_buffer
            if data_buffer == "":
                event_type_buffer = ""
                continue
            if data_buffer[-1] == "\n":
                data_buffer = data_buffer[:-1]
            event_type = event_type_buffer if event_type_buffer != "" else "message"
            result.events.append((event_type, data_buffer, last_event_id_buffer))
            data_buffer = ""
            event_type_buffer = ""
            continue
        if line[0] == ":":
            continue
        if ":" in line:
            colon = line.index(":")
            name = line[:colon]
            value = line[colon + 1 :]
            if value[:1] == " ":
                value = value[1:]
        else:
            name = line
            value = ""
        if name == "event":
            event_type_buffer = value
        elif name == "data":
            data_buffer += value
            data_buffer += "\n"
        elif name == "id":
            if "\0" not in value:
                last_event_id_buffer = value
        elif name == "retry":
            if value != "" and all(c in "0123456789" for c in value) and len(value) <= max_retry_digits:
                result.retry_ms = int(value)
    return result
