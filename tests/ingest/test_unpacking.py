"""Compressed payloads: what comes out of them, and how much at most."""

import gzip
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest

from broker.message import Message
from ingest.message import Parsed, Reading, Rejection
from ingest.payload import Parser
from ingest.unpacking import unpacked
from ingest.values import PayloadError
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

PLAIN = b'{"m":1.5,"s":"on"}'


def gzipped(payload: bytes) -> bytes:
    """A packed payload that is the same in each process of tests."""
    return gzip.compress(payload, mtime=0)


def deflated(payload: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(payload) + packer.flush()


def parsed(folder: Path, payload: bytes, keys: str = "", topic: str = "x/7") -> Parsed:
    metrics = '[metrics]\nm = {}\ns = { type = "text" }\n'
    (folder / "x.toml").write_text(f'topic = "x/{{device_id}}"\n{keys}\n{metrics}')
    (folder / "y.toml").write_text(f'topic = "y/{{device_id}}/{{metric}}"\n{keys}\n{metrics}')
    parser = Parser(load(folder, {}, DEVICE_TOPICS))
    return parser.parse(Message(topic, payload, RECEIVED))


@pytest.mark.parametrize(
    ("payload", "keys"),
    [
        (gzipped(PLAIN), ""),
        (gzipped(PLAIN) + b"\0\0", ""),
        (gzipped(PLAIN + b"\0"), ""),
        *((zlib.compress(PLAIN, level), "") for level in (0, 1, 6, 9)),
        (deflated(PLAIN), 'unpack = "deflate"'),
        (PLAIN + b"\0\0\0", ""),
        (b"\xef\xbb\xbf" + PLAIN, ""),
        (gzipped(b"\xef\xbb\xbf" + PLAIN), ""),
    ],
)
def test_a_payload_may_be_packed(payload: bytes, keys: str, tmp_path: Path) -> None:
    found = parsed(tmp_path, payload, keys)
    assert isinstance(found, Reading), found
    assert found.values == (1.5, "on")


@pytest.mark.parametrize(
    ("payload", "value"),
    [(gzipped(b"21.5"), 21.5), (b"21.5\0", 21.5), (zlib.compress(b'"21.5"'), 21.5)],
)
def test_a_bare_value_may_be_packed(payload: bytes, value: float, tmp_path: Path) -> None:
    found = parsed(tmp_path, payload, topic="y/7/m")
    assert isinstance(found, Reading), found
    assert found.values[0] == value


def test_a_text_that_begins_like_zlib_is_a_text(tmp_path: Path) -> None:
    found = parsed(tmp_path, b"x^2", topic="y/7/s")
    assert isinstance(found, Reading), found
    assert found.values[1] == "x^2"


@pytest.mark.parametrize(
    ("payload", "keys", "reason"),
    [
        (gzipped(PLAIN)[:-10], "", "not_unpacked"),
        (b"\x1f\x8bnothing", "", "not_unpacked"),
        (zlib.compress(PLAIN)[:-3], "", "invalid_utf8"),
        (PLAIN, 'unpack = "deflate"', "not_unpacked"),
        (gzipped(b""), "", "empty_payload"),
        (gzipped(b" " * 70_000), "", "empty_payload"),
        (gzipped(b'{"m":"' + b"1" * 70_000 + b'"}'), "", "too_large"),
    ],
)
def test_what_cannot_be_unpacked_is_set_aside(
    payload: bytes, keys: str, reason: str, tmp_path: Path
) -> None:
    found = parsed(tmp_path, payload, keys)
    assert isinstance(found, Rejection), found
    assert found.reason == reason


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_costs_neither_time_nor_memory(pack: type, tmp_path: Path) -> None:
    bomb = pack(bytes(60_000_000))
    assert len(bomb) < 65_536
    parsed(tmp_path, PLAIN)
    tracemalloc.start()
    began = time.process_time()
    found = parsed(tmp_path, bomb)
    spent = time.process_time() - began
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Rejection)
    assert found.reason == "too_large"
    assert most < 20_000_000
    assert spent < 1


def test_a_payload_of_several_gzip_members_is_read_whole() -> None:
    packed = b"".join(gzip.compress(part, mtime=0) for part in (b'{"a":', b"1", b"}"))
    assert unpacked(packed) == b'{"a":1}'
    bomb = b"".join(gzip.compress(b" " * 400_000, mtime=0) for _ in range(3))
    with pytest.raises(PayloadError):
        unpacked(bomb)


def test_gzip_members_without_end_are_refused() -> None:
    with pytest.raises(PayloadError) as refused:
        unpacked(gzip.compress(b"", mtime=0) * 1_001)
    assert str(refused.value) == "the payload has more than 1000 gzip members"
