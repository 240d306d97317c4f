"""CBOR, RFC 8949; imported only if a stream has it, because cbor2 may not be installed."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import cbor2

from ingest.formats.trees import NoJson, plain_document
from ingest.json_payloads import check_size
from ingest.showing import Spelled
from ingest.unpacking import MAX_UNPACKED
from ingest.values import PayloadError
from utils.identity import MAX_DEPTH

MAX_BYTES = 128
"""Bytes of an integer: a larger one is beyond the largest number that is stored."""
MAX_EXPONENT = 400
_REFERENCES = (25, 28, 29, 256)
"""Tags of references, whose content stands for something else."""
_BUILT_IN = (
    *(0, 1, 5, 30, 35, 36, 37, 52, 54, 100, 258, 260, 261, 1004, 43000, 55799),
    *_REFERENCES,
)
"""Tags that cbor2 would turn into objects of Python; others come to the tag hook."""


class _TooLarge(Exception):
    pass


def decode(payload: bytes) -> Any:
    """Return the document, with the types of decoded JSON. Raises PayloadError.

    A tag is left off, unless it makes its content an integer or a decimal fraction.
    """
    check_size(payload, MAX_UNPACKED)
    source = BytesIO(payload)
    # Tags count as levels for cbor2; `plain` checks the limit of lists and maps.
    decoder = cbor2.CBORDecoder(
        source,
        tag_hook=lambda tag, immutable: _content(tag.tag)(tag.value, immutable),
        semantic_decoders=_TAGS,
        max_depth=2 * MAX_DEPTH,
        allow_duplicate_keys=False,
    )
    try:
        document = plain_document(decoder.decode(), _special)
    except cbor2.CBORDecodeError as error:
        raise _why(error) from error
    except NoJson as error:
        raise PayloadError("invalid_cbor", str(error)) from error
    if (end := source.tell()) < len(payload):
        message = f"the document ends before byte {end}, the payload does not"
        raise PayloadError("invalid_cbor", message)
    return document


def _why(error: cbor2.CBORDecodeError) -> PayloadError:
    cause = error.__cause__
    if isinstance(cause, UnicodeDecodeError):
        message = f"a text has bytes that are not valid UTF-8: {cause.reason}"
        return PayloadError("invalid_utf8", message)
    if isinstance(cause, _TooLarge):
        return PayloadError("number_out_of_range", str(cause))
    if "nesting depth" in str(error):
        return PayloadError("too_deep", f"the document is nested more than {MAX_DEPTH} deep")
    text = cause if isinstance(cause, NoJson) else f"not valid CBOR: {error}"
    return PayloadError("invalid_cbor", str(text))


def _special(value: Any) -> Any:
    if value is cbor2.undefined:
        return None
    if isinstance(value, cbor2.CBORSimpleValue):
        raise NoJson(f"the simple value {value.value}, which has no meaning")
    raise NoJson(f"a value of the type {type(value).__name__}")


def _integer(content: Any) -> int:
    if not isinstance(content, bytes):
        raise NoJson("an integer of many bytes (tag 2 or 3) without bytes")
    if len(content) > MAX_BYTES:
        raise _TooLarge(f"an integer has {len(content)} bytes; at most {MAX_BYTES} are allowed")
    return int.from_bytes(content)


def _negative(content: Any) -> int:
    return -1 - _integer(content)


def _fraction(content: Any) -> Spelled:
    if not isinstance(content, list) or [type(part) for part in content] != [int, int]:
        raise NoJson("a decimal fraction (tag 4) without an exponent and an integer")
    exponent, digits = content
    if abs(exponent) > MAX_EXPONENT:
        raise _TooLarge(f"a decimal fraction has an exponent beyond {MAX_EXPONENT}")
    return Spelled(f"{digits}e{exponent}")


def _content(number: int) -> Callable[[Any, bool], Any]:
    """Return the meaning of a tag, of which its content is all that is known."""

    def read(content: Any, immutable: bool) -> Any:
        if immutable:
            raise NoJson(f"a key with the tag {number}; a key must be a text or an integer")
        if number in _REFERENCES:
            raise NoJson(f"a reference (tag {number}) instead of a value")
        return content

    return read


def _meaning(meaning: Callable[[Any], Any], number: int) -> Callable[[Any, bool], Any]:
    content = _content(number)
    return lambda value, immutable: meaning(content(value, immutable))


_TAGS = {number: _content(number) for number in _BUILT_IN} | {
    2: _meaning(_integer, 2),
    3: _meaning(_negative, 3),
    4: _meaning(_fraction, 4),
}
