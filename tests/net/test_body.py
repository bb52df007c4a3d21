"""Content codings undone piece by piece, and bodies read whole."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client import ConnectionLost, MessageTooLarge, RemoteProtocolError
from streamhttp_client._headers import Headers
from streamhttp_client.net.body import Body, Decoder, Response, decoder_for


def raw_deflate(data: bytes) -> bytes:
    """Deflate without the zlib header around it, as some servers send it."""
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


def decode(coding: str, pieces: Sequence[bytes]) -> bytes:
    decoder = Decoder(coding)
    data = b"".join(piece for chunk in pieces for piece in decoder.feed(chunk))
    decoder.end()
    return data


TEXT = "".join(random.Random(5).choices("abc äöü\n", k=300)).encode()
CODED = [
    ("gzip", gzip.compress(TEXT)),
    ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(b"") + gzip.compress(TEXT[100:])),
    ("gzip", gzip.compress(TEXT, compresslevel=0)),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw_deflate(TEXT)),
]


@pytest.mark.parametrize(("coding", "data"), CODED, ids=["gzip", "members", "stored", "zlib", "raw"])
def test_decoding_at_every_split(coding: str, data: bytes) -> None:
    """RFC 9110, section 8.4.1: gzip with several members, zlib, and deflate without zlib, cut anywhere."""
    assert decode(coding, [data]) == TEXT
    assert decode(coding, [data[at : at + 1] for at in range(len(data))]) == TEXT
    for at in range(1, len(data)):
        assert decode(coding, [data[:at], data[at:]]) == TEXT


@pytest.mark.parametrize(("coding", "data"), CODED, ids=["gzip", "members", "stored", "zlib", "raw"])
def test_a_coded_body_cut_short(coding: str, data: bytes) -> None:
    """Where the coded data stops in the middle, the answer is lost, whatever the framing said of it."""
    whole_members = {len(data), len(gzip.compress(TEXT[:100])), len(gzip.compress(TEXT[:100]) + gzip.compress(b""))}
    for size in range(1, len(data)):
        if size in whole_members and coding == "gzip" and data is CODED[1][1]:
            continue
        with pytest.raises(ConnectionLost, match="middle of its"):
            decode(coding, [data[:size]])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_empty_body_needs_no_coding(coding: str) -> None:
    """Servers name a coding on answers without a body."""
    assert decode(coding, []) == b""


def test_each_flush_comes_out_at_once() -> None:
    """What a server flushes is handed out when it arrives: a stream of events depends on it."""
    coder = zlib.compressobj(wbits=31)
    decoder = Decoder("gzip")
    for number in range(100):
        event = b"data: %d\n\n" % number * (number % 7 + 1)
        data = coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decoder.feed(data)) == event
    assert b"".join(decoder.feed(coder.flush())) == b""
    decoder.end()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"plain text, not coded", b"\x1f\x8b\x09\x00", b"\xff" * 30])
def test_what_is_not_coded(coding: str, data: bytes) -> None:
    """A body that is not what its field says is the peer's error."""
    with pytest.raises((RemoteProtocolError, ConnectionLost)):
        decode(coding, [data + b"\x00" * 100])


def test_a_broken_checksum() -> None:
    """Damaged data is not handed out as good."""
    data = bytearray(gzip.compress(TEXT))
    data[-6] ^= 1
    with pytest.raises(RemoteProtocolError, match="not valid gzip"):
        decode("gzip", [bytes(data)])


@pytest.mark.parametrize("trailing", [b"\x00" * 20, b"garbage behind the end"])
@pytest.mark.parametrize(("coding", "data"), [CODED[0], CODED[3], CODED[4]], ids=["gzip", "zlib", "raw"])
def test_garbage_after_the_end_is_not_data(coding: str, data: bytes, trailing: bytes) -> None:
    """What follows the coded data is either ignored or refused, in whatever pieces it comes."""
    for pieces in ([data + trailing], [data, trailing], [data[:-1], data[-1:] + trailing]):
        try:
            assert decode(coding, pieces) == TEXT
        except (RemoteProtocolError, ConnectionLost):
            assert coding == "gzip"  # it may be another member


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_taken_apart_in_pieces(coding: str) -> None:
    """64 MiB in 64 KiB: pieces of at most 256 KiB, and no more than a few of them in memory."""
    size = 64 * 1024 * 1024
    bomb = (gzip.compress if coding == "gzip" else zlib.compress)(bytes(size))
    decoder = Decoder(coding)
    tracemalloc.start()
    try:
        got = 0
        for piece in decoder.feed(bomb):
            assert len(piece) <= 256 * 1024
            got += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got == size
    decoder.end()
    assert peak < 4 * 1024 * 1024


@given(st.lists(st.binary(max_size=100), max_size=4), st.sampled_from(["gzip", "deflate", "raw"]), st.data())
def test_any_body_in_any_pieces(parts: list[bytes], kind: str, data: st.DataObject) -> None:
    """Whatever was coded comes back, wherever the network cuts it."""
    whole = b"".join(parts)
    if kind == "gzip":
        coded = b"".join(map(gzip.compress, parts))
    else:
        coded = zlib.compress(whole) if kind == "deflate" else raw_deflate(whole)
    marks = sorted(data.draw(st.lists(st.integers(0, len(coded)), max_size=6)))
    edges = [0, *marks, len(coded)]
    pieces = [coded[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    assert decode("gzip" if kind == "gzip" else "deflate", pieces) == whole


@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_decoded_or_refused(data: bytes, coding: str) -> None:
    """Nothing but the two documented errors."""
    try:
        decode(coding, [data])
    except (RemoteProtocolError, ConnectionLost):
        pass


@pytest.mark.parametrize("value", [None, "", "identity", " IDENTITY "])
def test_no_decoder_for_plain_bodies(value: str | None) -> None:
    """Nothing to undo."""
    assert decoder_for(Headers() if value is None else Headers({"content-encoding": value})) is None


@pytest.mark.parametrize("value", ["gzip", "GZIP", "x-gzip", " deflate "])
def test_decoders(value: str) -> None:
    """Codings are compared without case; x-gzip is gzip (RFC 9110, section 8.4.1.3)."""
    assert decoder_for(Headers({"content-encoding": value})) is not None


@pytest.mark.parametrize("value", ["br", "zstd", "gzip, gzip", "compress", "x" * 500])
def test_codings_that_were_not_asked_for(value: str) -> None:
    """They are named, and the body is not handed out undecoded."""
    with pytest.raises(RemoteProtocolError, match="content coding") as caught:
        decoder_for(Headers({"content-encoding": value}))
    assert len(str(caught.value)) < 150


class Pieces(Body):
    """A body of given pieces that remembers the limits it was read with."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.limits: list[float | None] = []

    def read1(self, size: int = 65536, *, timeout: float | None = None) -> bytes:
        self.limits.append(timeout)
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.pieces.clear()


def test_reading_to_the_end() -> None:
    """All pieces, each within what is left by then."""
    body = Pieces(b"ab", b"c", b"def")
    left = iter([4.0, 3.0, 2.0, 1.0])
    assert body.read_all(6, lambda: next(left)) == b"abcdef"
    assert body.limits == [4.0, 3.0, 2.0, 1.0]
    assert Pieces().read_all(0, lambda: None) == b""


def test_reading_no_further_than_the_limit() -> None:
    """One byte more than the limit ends it, and the rest is not read."""
    body = Pieces(b"ab", b"c", b"def")
    with pytest.raises(MessageTooLarge) as caught:
        body.read_all(2, lambda: None)
    assert caught.value.limit == 2
    assert body.pieces == [b"def"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""), ("", ""), ("text/event-stream", "text/event-stream"),
        ("Text/Event-Stream ; charset=x", "text/event-stream"), (" application/json", "application/json"), (";", ""),
    ],
)  # fmt: skip
def test_content_types(value: str | None, expected: str) -> None:
    """H25-05: the type without its parameters, in lower case."""
    headers = Headers() if value is None else Headers({"content-type": value})
    assert Response(200, "OK", headers, "http://h/", Pieces()).content_type == expected


def test_a_body_in_single_bytes_takes_no_more_than_its_size() -> None:
    """A limit on a message bounds what holding it takes, however it is sent."""

    class Drips(Body):
        left = 100_000

        def read1(self, size: int = 0, *, timeout: float | None = None) -> bytes:
            self.left -= 1
            return b"x" if self.left >= 0 else b""

        def close(self) -> None:
            """Nothing to close."""

    tracemalloc.start()
    try:
        assert Drips().read_all(100_000, lambda: None) == b"x" * 100_000
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()
