"""Unpacking: bring compressed payloads to their plain bytes, within a limit; pure."""

import zlib

from ingest.values import PayloadError
from streams.payload_shape import Unpack

MAX_UNPACKED = 1_000_000
"""Bytes of an unpacked payload."""
MAX_MEMBERS = 1_000
"""Members of a gzip payload; each costs a copy of what is behind it."""
_GZIP = b"\x1f\x8b"
_GZIP_BITS, _ZLIB_BITS, _DEFLATE_BITS = 31, 15, -15


def unpacked(payload: bytes, declared: Unpack = "") -> bytes:
    """Return a text without its compression and without NULs at its end. Raises PayloadError."""
    return inflated(payload, declared).rstrip(b"\0")


def inflated(payload: bytes, declared: Unpack = "") -> bytes:
    """Return a payload without its compression. Raises PayloadError.

    Its first bytes say how it is compressed, or the stream.
    """
    if declared == "deflate":
        plain = _inflated(payload, _DEFLATE_BITS)
    elif payload.startswith(_GZIP):
        plain = _inflated(payload, _GZIP_BITS)
    elif _looks_like_zlib(payload):
        # A text may begin like this, too.
        plain = _inflated(payload, _ZLIB_BITS)
        return payload if plain is None else plain
    else:
        return payload
    if plain is None:
        raise PayloadError("not_unpacked", "the compressed payload is damaged")
    return plain


def _looks_like_zlib(payload: bytes) -> bool:
    """Return whether the first two bytes are a header of RFC 1950, section 2.2."""
    return payload[:1] == b"x" and int.from_bytes(payload[:2]) % 31 == 0


def _inflated(payload: bytes, bits: int) -> bytes | None:
    """Return the plain bytes; None if they are damaged. Raises PayloadError."""
    plain, rest = b"", payload
    for _ in range(MAX_MEMBERS):
        inflater = zlib.decompressobj(bits)
        try:
            plain += inflater.decompress(rest, MAX_UNPACKED + 1 - len(plain))
        except zlib.error:
            return None
        if len(plain) > MAX_UNPACKED:
            more = f"more than {MAX_UNPACKED} bytes when it is unpacked"
            raise PayloadError("too_large", f"the payload has {more}")
        rest = inflater.unused_data
        # gzip may have several members, RFC 1952, section 2.2.
        if bits != _GZIP_BITS or not (inflater.eof and rest.startswith(_GZIP)):
            return plain if inflater.eof else None
    raise PayloadError("too_large", f"the payload has more than {MAX_MEMBERS} gzip members")
