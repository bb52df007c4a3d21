"""What of a request stands in its headers too: encoded so that it arrives, and compared so that nobody can lie."""

from __future__ import annotations

import base64
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client._headers import check_field
from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.protocol.mirrored import (
    MAX_INTEGER,
    NO_PARAM_HEADERS,
    ParamHeaders,
    decode_value,
    encode_value,
    standard_headers,
    standard_misfit,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def annotated(token: Any, kind: Any = "string") -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": token}


# --- values
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        # The examples of the specification, section Value Encoding
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        # Plain: no base64 without need
        ("us west 1", "us west 1"),
        ("a", "a"),
        ("~!", "~!"),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ("SGVsbG8=?=", "SGVsbG8=?="),
        ("=?BASE64?x?=", "=?BASE64?x?="),
        ("file:///projects/myapp/config.json", "file:///projects/myapp/config.json"),
        # Not plain
        (" us-west1", "=?base64?IHVzLXdlc3Qx?="),
        ("us-west1 ", "=?base64?dXMtd2VzdDEg?="),
        ("\tindented", "=?base64?CWluZGVudGVk?="),
        ("a\tb", "=?base64?YQli?="),
        ("a\r\nb", "=?base64?YQ0KYg==?="),
        ("a\n", "=?base64?YQo=?="),
        ("a\x7fb", "=?base64?YX9i?="),
        ("\x00", "=?base64?AA==?="),
        ("é", "=?base64?w6k=?="),
        ("", "=?base64??="),
        # Begins and ends like an encoded value, though the markers share a character
        ("=?base64?=", "=?base64?PT9iYXNlNjQ/PQ==?="),
    ],
)
def test_values_are_encoded_where_they_must_be(text: str, encoded: str) -> None:
    """H26-11, H26-12: what a header cannot carry is in base64, and so is what would be taken for it; no more."""
    assert encode_value(text) == encoded
    assert decode_value(encoded) == text


@given(TEXT)
def test_every_text_survives(text: str) -> None:
    """H26-11, H26-12: any text comes back as it was, by way of a value that a header can carry."""
    encoded = encode_value(text)
    check_field("mcp-name", encoded)
    assert encoded.isascii() and encoded.strip() == encoded != ""
    assert decode_value(encoded) == text


@given(TEXT)
def test_an_encoded_value_is_never_taken_for_a_plain_one(text: str) -> None:
    """H26-12: encoding twice and decoding twice gives the text again, so the two readings never meet."""
    assert decode_value(decode_value(encode_value(encode_value(text)))) == text


def test_half_a_character_is_refused() -> None:
    """What UTF-8 cannot say is an error here, not at the peer."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode_value("\ud800")


@pytest.mark.parametrize(
    "said",
    [
        "=?base64?SGVsbG8?=",  # the padding is missing
        "=?base64?SGVsbG8==?=",  # too much of it
        "=?base64?SGVs!!!bG8=?=",  # not of the alphabet
        "=?base64?SGVs bG8=?=",
        "=?base64?SGVsbG9=?=",  # bits beyond the last byte: two texts for one value
        "=?base64?SGVs\tbG8=?=",
        "=?base64?=?=",
        "=?base64?SGVsbG8-?=",  # base64url
        "=?base64?/w==?=",  # not UTF-8
        "=?base64?7aCA?=",  # half a surrogate pair in UTF-8
        "é",
        "a\nb",
        "a\x00",
        "世",
    ],
)
def test_what_cannot_be_read_is_refused(said: str) -> None:
    """A value that two readers could understand differently is no value."""
    with pytest.raises(ValueError, match="base64|UTF-8|visible ASCII"):
        decode_value(said)


@pytest.mark.parametrize("said", ["SGVsbG8=", "=?base64?SGVsbG8=", "SGVsbG8=?=", "=?Base64?SGVsbG8=?=", "=?base64?="])
def test_without_both_markers_a_value_stands_for_itself(said: str) -> None:
    """The markers are case-sensitive and must both be there."""
    assert decode_value(said) == said


@given(st.text(st.characters(max_codepoint=0x17F), max_size=30) | st.binary().map(lambda b: f"=?base64?{b!r}?="))
def test_decoding_returns_or_refuses(said: str) -> None:
    """Nothing else than ValueError comes out of a header that a stranger wrote."""
    try:
        text = decode_value(said)
    except ValueError:
        return
    assert text == said or encode_value(text) == said or base64.b64encode(text.encode()).decode() in said


# --- method and name
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "headers"),
    [
        ("tools/list", None, {"mcp-method": "tools/list"}),
        ("tools/list", {"cursor": "x", "name": "n"}, {"mcp-method": "tools/list"}),
        ("server/discover", {}, {"mcp-method": "server/discover"}),
        ("tools/call", {"name": "add", "uri": "no"}, {"mcp-method": "tools/call", "mcp-name": "add"}),
        ("tools/call", {"name": "añadir"}, {"mcp-method": "tools/call", "mcp-name": "=?base64?YcOxYWRpcg==?="}),
        ("prompts/get", {"name": "p"}, {"mcp-method": "prompts/get", "mcp-name": "p"}),
        ("resources/read", {"uri": "file:///a%20b"}, {"mcp-method": "resources/read", "mcp-name": "file:///a%20b"}),
        ("resources/read", {"name": "no"}, {"mcp-method": "resources/read"}),
        ("tools/call", {"name": 7}, {"mcp-method": "tools/call"}),
        ("tools/call", None, {"mcp-method": "tools/call"}),
        ("tasks/get", {"taskId": "t-1"}, {"mcp-method": "tasks/get", "mcp-name": "t-1"}),
        ("tasks/update", {"taskId": "t-1"}, {"mcp-method": "tasks/update", "mcp-name": "t-1"}),
        ("tasks/cancel", {"taskId": "t-1"}, {"mcp-method": "tasks/cancel", "mcp-name": "t-1"}),
    ],
)
def test_standard_headers(method: str, params: Any, headers: dict[str, str]) -> None:
    """H26-09, H26-10, H26-11: every request names its method, and those about one thing name the thing."""
    assert standard_headers(method, params) == headers
    assert standard_misfit(headers, method, params) is None


@pytest.mark.parametrize("method", ["", "méthode", "a\nb", " a", "tools/call\r\nx: y"])
def test_a_method_that_no_header_can_carry_is_refused(method: str) -> None:
    """H26-09: a method has no encoding, so one that would need it is not sent."""
    with pytest.raises(LocalProtocolError, match="a method must be visible ASCII"):
        standard_headers(method, None)


def test_a_name_that_is_no_text_is_refused() -> None:
    """H26-11: half a surrogate pair is refused before anything is sent."""
    with pytest.raises(LocalProtocolError, match="'name' is sent in a header and holds half of a surrogate pair"):
        standard_headers("tools/call", {"name": "\udc00"})


@pytest.mark.parametrize(
    ("headers", "method", "params", "reason"),
    [
        ({}, "tools/list", None, "header Mcp-Method is missing"),
        ({"mcp-method": "prompts/list"}, "tools/list", None, "is 'prompts/list', and the method in the body is 'tools"),
        ({"mcp-method": "TOOLS/LIST"}, "tools/list", None, "is 'TOOLS/LIST'"),
        ({"mcp-method": "a", "Mcp-Method": "a"}, "a", None, "is 'a, a'"),
        ({"mcp-method": "tools/call"}, "tools/call", {"name": "n"}, "header Mcp-Name is missing"),
        ({"mcp-method": "tools/call", "mcp-name": "foo"}, "tools/call", {"name": "bar"}, "is 'foo', .* has 'bar'"),
        ({"mcp-method": "tools/call", "mcp-name": "N"}, "tools/call", {"name": "n"}, "is 'N'"),
        ({"mcp-method": "tools/call", "mcp-name": "n"}, "tools/call", {}, "the body has no name"),
        ({"mcp-method": "tools/call", "mcp-name": "n"}, "tools/call", None, "the body has no name"),
        ({"mcp-method": "resources/read", "mcp-name": "a:b"}, "resources/read", {"uri": "a:c"}, "is 'a:b'"),
        ({"mcp-method": "resources/read"}, "resources/read", {"uri": "a:c"}, "header Mcp-Name is missing"),
        ({"mcp-method": "prompts/get"}, "prompts/get", {"name": "p"}, "header Mcp-Name is missing"),
        ({"mcp-method": "tasks/get", "mcp-name": "x"}, "tasks/get", {"taskId": "y"}, "is 'x'"),
        ({"mcp-method": "tools/call", "mcp-name": "=?base64?bg?="}, "tools/call", {"name": "n"}, "cannot be read"),
        ({"mcp-method": "tools/call", "mcp-name": "x" * 99}, "tools/call", {"name": "y"}, r"is 'x{57}\.\.\.', "),
    ],
)
def test_standard_headers_that_lie(headers: dict[str, str], method: str, params: Any, reason: str) -> None:
    """H26-09, H26-10: a header that is missing or says something else than the body is found; values have a case."""
    said = standard_misfit(headers, method, params)
    assert said is not None
    assert re.search(reason, said), said


def test_standard_headers_in_any_case() -> None:
    """H26-19: the names of headers have no case."""
    assert standard_misfit({"MCP-METHOD": "tools/call", "mcp-Name": "n"}, "tools/call", {"name": "n"}) is None
    # Without a name in the body there is nothing to compare; the check of the parameters refuses the request.
    assert standard_misfit({"mcp-method": "tools/call"}, "tools/call", {}) is None
    # Servers of the tasks extension may meet clients that do not know its headers.
    assert standard_misfit({"mcp-method": "tasks/get"}, "tasks/get", {"taskId": "t"}) is None


# --- parameters of tools: reading the schema
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plain",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}},
        {},
        True,
        None,
        [],
    ],
)
def test_schemas_without_annotation(plain: Any) -> None:
    """H26-13: a schema without annotation has no headers, whatever it is, and all of them share one object."""
    found = ParamHeaders.from_schema(plain)
    assert found is NO_PARAM_HEADERS
    assert not found
    assert found.headers({"a": "b"}) == {}
    assert found.fits({"mcp-param-a": "whatever"}, {"a": "b"}) is None


def test_the_word_alone_is_no_annotation() -> None:
    """H26-16: a property may be called like the keyword, and values may hold the word."""
    plain = {
        "type": "object",
        "properties": {"x-mcp-header": {"type": "string"}, "a": {"default": {"x-mcp-header": ""}}},
        "examples": [{"x-mcp-header": "not a token"}],
        "enum": [{"x-mcp-header": 1}],
        "const": {"x-mcp-header": ""},
        "x-other": {"x-mcp-header": ""},
    }
    assert ParamHeaders.from_schema(plain) == NO_PARAM_HEADERS


def test_reachable_properties() -> None:
    """H26-13: annotations at any depth below properties are read, in the order of the text."""
    found = ParamHeaders.from_schema(
        schema(
            region=annotated("Region"),
            plain={"type": "number"},
            place=schema(zone=annotated("Zone", "integer"), deep=schema(flag=annotated("X.y_Z!", "boolean"))),
            **{"a.b": annotated("Method")},
        )
    )
    assert found.fields == (
        ("mcp-param-region", ("region",)),
        ("mcp-param-zone", ("place", "zone")),
        ("mcp-param-x.y_z!", ("place", "deep", "flag")),
        ("mcp-param-method", ("a.b",)),
    )
    assert found
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(ParamHeaders(found.fields))


BAD_TOKENS = ["", "My Region", "Region:Primary", "Région", "Region\t1", "a\r\nb", "a\n", "(x)", "a/b", "a=b", "世"]


@pytest.mark.parametrize("token", [*BAD_TOKENS, None, 7, True, ["Region"], {"a": "b"}])
def test_bad_header_names(token: Any) -> None:
    """H26-16: an annotation that is empty, no string or no token makes the tool invalid, and the reason says where."""
    with pytest.raises(ValueError, match="x-mcp-header of 'p' must be a (string that is not empty|header name)"):
        ParamHeaders.from_schema(schema(p=annotated(token)))


@pytest.mark.parametrize("kind", ["number", "object", "array", "null", "String", None, ["string", "null"], 3, {}])
def test_bad_types(kind: Any) -> None:
    """H26-14, H26-16: only strings, integers and booleans can be mirrored; ``number`` cannot."""
    with pytest.raises(ValueError, match="x-mcp-header of 'p' needs the type string, integer or boolean, got"):
        ParamHeaders.from_schema(schema(p=annotated("P", kind)))
    with pytest.raises(ValueError, match="needs the type"):
        ParamHeaders.from_schema(schema(p={"x-mcp-header": "P"}))


@pytest.mark.parametrize(("one", "two"), [("Region", "Region"), ("MyField", "myfield"), ("A", "a")])
def test_names_that_differ_by_case_alone(one: str, two: str) -> None:
    """H26-16: two parameters cannot share a header, wherever they stand."""
    with pytest.raises(ValueError, match=r"x-mcp-header of 'in\.g' is that of 'f'"):
        ParamHeaders.from_schema(schema(f=annotated(one), **{"in": schema(g=annotated(two))}))


GOOD = annotated("Name")

UNREACHABLE: dict[str, Any] = {
    "the root": {**schema(), "x-mcp-header": "Root"},
    "items": schema(a={"type": "array", "items": GOOD}),
    "items as a list": schema(a={"type": "array", "items": [GOOD]}),
    "properties below items": schema(a={"type": "array", "items": schema(b=GOOD)}),
    "prefixItems": schema(a={"prefixItems": [{}, GOOD]}),
    "contains": schema(a={"contains": GOOD}),
    "unevaluatedItems": schema(a={"unevaluatedItems": GOOD}),
    "oneOf": {"type": "object", "oneOf": [schema(), schema(a=GOOD)]},
    "anyOf": schema(a={"anyOf": [GOOD, {"type": "null"}]}),
    "allOf": {"allOf": [schema(a=GOOD)]},
    "not": {"not": schema(a=GOOD)},
    "if": {"if": schema(a=GOOD)},
    "then": {"then": schema(a=GOOD)},
    "else": {"else": schema(a=GOOD)},
    "$defs": {"$defs": {"d": GOOD}, **schema(a={"$ref": "#/$defs/d"})},
    "properties below $defs": {"$defs": {"d": schema(b=GOOD)}},
    "definitions": {"definitions": {"d": GOOD}},
    "patternProperties": {"patternProperties": {"^a": GOOD}},
    "additionalProperties": {"additionalProperties": GOOD},
    "unevaluatedProperties": {"unevaluatedProperties": GOOD},
    "propertyNames": {"propertyNames": GOOD},
    "dependentSchemas": {"dependentSchemas": {"a": schema(b=GOOD)}},
    "dependencies": {"dependencies": {"a": schema(b=GOOD), "c": ["d"]}},
    "additionalItems": schema(a={"additionalItems": GOOD}),
    "contentSchema": schema(a={"contentSchema": schema(b=GOOD)}),
}


@pytest.mark.parametrize("where", UNREACHABLE)
def test_annotations_that_no_chain_of_properties_reaches(where: str) -> None:
    """H26-16: an annotation anywhere else makes the tool invalid, also if there are good ones too."""
    with pytest.raises(ValueError, match="must stand on a property reached by 'properties' alone"):
        ParamHeaders.from_schema(UNREACHABLE[where])
    both = {**UNREACHABLE[where]}
    both["properties"] = {"good": annotated("Good"), **both.get("properties", {})}
    with pytest.raises(ValueError, match="must stand on a property"):
        ParamHeaders.from_schema(both)


def test_deep_schemas() -> None:
    """H26-16: a schema as deep as one likes is read without recursion."""
    deep: Any = annotated("Deep")
    for _ in range(5000):
        deep = schema(a=deep)
    ((name, path),) = ParamHeaders.from_schema(deep).fields
    assert (name, len(path)) == ("mcp-param-deep", 5000)
    for _ in range(5000):
        deep = {"items": deep}
    with pytest.raises(ValueError, match="must stand on a property"):
        ParamHeaders.from_schema(deep)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["properties", "items", "oneOf", "$defs", "type", "x-mcp-header", "default", "a", "b"]),
        inner | st.sampled_from(["string", "integer", "A", "B"]),
        max_size=4,
    ),
    max_leaves=20,
)


@given(JSON, JSON)
def test_any_schema_is_read_or_refused(anything: Any, arguments: Any) -> None:
    """H26-16: nothing but ValueError comes of a schema that a stranger wrote, and what is read can be used."""
    try:
        found = ParamHeaders.from_schema(anything)
    except ValueError:
        return
    names = [name for name, _ in found.fields]
    assert len(set(names)) == len(names)
    try:
        headers = found.headers(arguments)
    except LocalProtocolError:
        return
    for name, value in headers.items():
        check_field(name, value)
    assert found.fits(headers, arguments) is None


# --- parameters of tools: the headers of a call
# ----------------------------------------------------------------------------------------------------------------------

TOOL = ParamHeaders.from_schema(
    schema(s=annotated("Text"), i=annotated("Count", "integer"), b=annotated("Flag", "boolean"), o=schema(s=GOOD))
)


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        (None, {}),
        ({}, {}),
        ({"s": None, "i": None, "o": None}, {}),
        ({"s": "us-west1"}, {"mcp-param-text": "us-west1"}),
        ({"s": ""}, {"mcp-param-text": "=?base64??="}),
        ({"s": "世界"}, {"mcp-param-text": "=?base64?5LiW55WM?="}),
        ({"i": 42, "b": False}, {"mcp-param-count": "42", "mcp-param-flag": "false"}),
        ({"i": -7, "b": True}, {"mcp-param-count": "-7", "mcp-param-flag": "true"}),
        ({"i": 0}, {"mcp-param-count": "0"}),
        ({"i": 42.0}, {"mcp-param-count": "42"}),
        ({"i": MAX_INTEGER}, {"mcp-param-count": "9007199254740991"}),
        ({"i": -MAX_INTEGER}, {"mcp-param-count": "-9007199254740991"}),
        ({"o": {"s": "deep", "x": 1}}, {"mcp-param-name": "deep"}),
        ({"o": {}, "s": "a"}, {"mcp-param-text": "a"}),
        ({"o": [{"s": "no"}]}, {}),
        ({"o": "s"}, {}),
        ({"o.s": "no"}, {}),
        # Of another type than the schema says: mirrored by its own kind, for the server to refuse
        ({"s": 5, "i": "5", "b": "true"}, {"mcp-param-text": "5", "mcp-param-count": "5", "mcp-param-flag": "true"}),
        ({"i": True}, {"mcp-param-count": "true"}),
        ({"unknown": "x"}, {}),
    ],
)
def test_headers_of_a_call(arguments: Any, headers: dict[str, str]) -> None:
    """H26-13, H26-14, H26-15: each value has its header, and what is null or absent has none."""
    assert TOOL.headers(arguments) == headers
    assert TOOL.fits(headers, arguments) is None
    assert TOOL.fits({name.upper(): value for name, value in headers.items()}, arguments) is None


@pytest.mark.parametrize(
    "value",
    [{}, {"a": 1}, [], ["x"], 1.5, float("inf"), float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, 2.0**53, 10**400],
)
def test_values_that_cannot_be_mirrored(value: Any) -> None:
    """H26-14: an integer beyond the safe range and what has no form as text are refused before anything is sent."""
    with pytest.raises(LocalProtocolError, match="argument 'o.s' is sent in a header, so it must be"):
        TOOL.headers({"o": {"s": value}})


def test_text_that_is_not_unicode() -> None:
    """H26-11: half a surrogate pair in an argument is refused before anything is sent."""
    with pytest.raises(LocalProtocolError, match="'o.s' is sent in a header and holds half of a surrogate pair"):
        TOOL.headers({"o": {"s": "\ud83d"}})


# --- parameters of tools: the server's half
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "arguments", "reason"),
    [
        ({}, {"s": "v"}, "header mcp-param-text is missing, and the body has a value for it at 's'"),
        ({}, {"s": ""}, "header mcp-param-text is missing"),
        ({}, {"b": False}, "header mcp-param-flag is missing"),
        ({}, {"i": 0}, "header mcp-param-count is missing"),
        ({}, {"o": {"s": "v"}}, "header mcp-param-name is missing, and the body has a value for it at 'o.s'"),
        ({"mcp-param-text": "x"}, {}, "header mcp-param-text is given, and the body has no value for it at 's'"),
        ({"mcp-param-text": "x"}, None, "header mcp-param-text is given"),
        ({"mcp-param-text": "null"}, {"s": None}, "header mcp-param-text is given"),
        ({"mcp-param-text": "[]"}, {"s": []}, "header mcp-param-text is given"),
        ({"mcp-param-count": "1.5"}, {"i": 1.5}, "header mcp-param-count is given"),
        ({"mcp-param-text": "x"}, {"s": "y"}, "header mcp-param-text is 'x', and the body has 'y'"),
        ({"mcp-param-text": "X"}, {"s": "x"}, "is 'X'"),
        ({"mcp-param-text": "=?base64?eA==?="}, {"s": "y"}, "is 'x', and the body has 'y'"),
        ({"mcp-param-text": "=?base64?SGVsbG8?="}, {"s": "Hello"}, "cannot be read: .* not base64"),
        ({"mcp-param-text": "=?base64?SGVs!!!bG8=?="}, {"s": "Hello"}, "cannot be read: .* not base64"),
        ({"mcp-param-text": "=?base64?/w==?="}, {"s": "Hello"}, "cannot be read: .* not UTF-8"),
        ({"mcp-param-text": "é"}, {"s": "é"}, "cannot be read: .* neither visible ASCII nor a space"),
        ({"mcp-param-text": "a, a"}, {"s": "a"}, "is 'a, a'"),
        ({"mcp-param-text": "a", "MCP-Param-Text": "a"}, {"s": "a"}, "is 'a, a'"),
        ({"mcp-param-flag": "True"}, {"b": True}, "is 'True', and the body has 'true'"),
        ({"mcp-param-flag": "1"}, {"b": True}, "is '1'"),
        ({"mcp-param-flag": "false"}, {"b": True}, "is 'false'"),
        ({"mcp-param-count": "43"}, {"i": 42}, "header mcp-param-count is '43', and the body has 42"),
        ({"mcp-param-count": "42.5"}, {"i": 42}, "is '42.5'"),
        ({"mcp-param-count": "0x2a"}, {"i": 42}, "is '0x2a'"),
        ({"mcp-param-count": "4_2"}, {"i": 42}, "is '4_2'"),
        ({"mcp-param-count": "forty"}, {"i": 42}, "is 'forty'"),
        ({"mcp-param-count": ""}, {"i": 0}, "is ''"),
        ({"mcp-param-count": "nan"}, {"i": 0}, "is 'nan'"),
        ({"mcp-param-count": "9007199254740991.4"}, {"i": MAX_INTEGER}, "is '9007199254740991.4'"),
        ({"mcp-param-count": "1e999999999"}, {"i": 1}, "is '1e999999999'"),
        ({"mcp-param-count": "1" * 5000}, {"i": 1}, r"is '111+\.\.\.'"),
        ({"mcp-param-count": "=?base64?x?="}, {"i": 1}, "cannot be read"),
        ({"mcp-param-count": str(2**53)}, {"i": 2**53}, r"argument 'i' is beyond ±\(2\^53 - 1\)"),
        ({}, {"i": 10**400}, "argument 'i' is beyond"),
    ],
)
def test_headers_that_do_not_fit(headers: dict[str, str], arguments: Any, reason: str) -> None:
    """H26-13, H26-14, H26-15: a server finds each header that is missing, too many or other than the body."""
    said = TOOL.fits(headers, arguments)
    assert said is not None
    assert re.search(reason, said), said


@pytest.mark.parametrize("said", ["42", "42.0", "42.000", "4.2e1", "420E-1", "042", "=?base64?NDI=?="])
def test_integers_are_compared_as_numbers(said: str) -> None:
    """H26-14: 42.0 and 42 are the same number."""
    assert TOOL.fits({"Mcp-Param-Count": said}, {"i": 42}) is None
    assert TOOL.fits({"Mcp-Param-Count": said}, {"i": 42.0}) is None
    assert TOOL.fits({"Mcp-Param-Count": said}, {"i": 41}) is not None


def test_what_is_not_of_the_tool_is_ignored() -> None:
    """H26-13: headers that this tool does not know mean nothing, and values without a form need no header."""
    assert TOOL.fits({"mcp-param-other": "x", "host": "h"}, {"z": 1}) is None
    assert TOOL.fits({}, {"s": ["refused by the check of the arguments"], "i": 1.5}) is None


@given(st.fixed_dictionaries({}, optional={"s": TEXT, "i": st.integers(-MAX_INTEGER, MAX_INTEGER), "b": st.booleans()}))
def test_both_halves_agree(arguments: dict[str, Any]) -> None:
    """H26-11, H26-13, H26-14: what the client sends for any arguments, the server finds right."""
    headers = TOOL.headers(arguments)
    assert len(headers) == len(arguments)
    assert TOOL.fits(headers, arguments) is None
    for name in headers:
        assert TOOL.fits({other: value for other, value in headers.items() if other != name}, arguments) is not None
