"""Choose the decoder of a stream's payloads by their format."""

from collections.abc import Callable
from typing import Any, assert_never

from ingest.formats import influx, msgpack, senml, sparkplug
from ingest.formats.table import Table
from ingest.json_payloads import (
    BLANK,
    MAX_PAYLOAD,
    begins_array,
    check_size,
    checked,
    decode_reading,
)
from ingest.showing import Bare, Spelled, few_shown
from ingest.unpacking import MAX_UNPACKED, inflated, unpacked
from ingest.values import NUMBER, PayloadError
from streams.payload_shape import PayloadShape
from streams.rest import BARE

MAX_DIGITS = 20
"""Digits of an integer; longer ones are no integers of 64 bits."""
Decoder = Callable[[bytes], Any]
_DECODERS: dict[str, Decoder] = {
    "influx": influx.decode,
    "senml": senml.decode,
    "msgpack": msgpack.decode,
    "sparkplug": sparkplug.decode,
}


def document_decoder(shape: PayloadShape) -> Decoder:
    """Return a function that turns a payload, as it was received, into a document.

    The document has the types of decoded JSON; numbers may be `Spelled`. If it has several
    readings, it is a list, whose members are objects or PayloadError. The function unpacks the
    payload: only texts may have NULs behind them. It raises PayloadError.
    """
    decode, is_text = _decoder(shape), shape.format not in ("cbor", "msgpack", "sparkplug")
    unpack, declared = unpacked if is_text else inflated, shape.unpack
    if shape.format == "json":
        return lambda payload: decode(unpack(payload, declared))

    def limited(payload: bytes) -> Any:
        content = unpack(payload, declared)
        with few_shown():
            document = decode(content)
        if not isinstance(document, list):  # one reading may have fewer bytes than several
            check_size(content)
        return document

    return limited


def _decoded(content: bytes, *, may_be_large: bool, may_be_bare: bool) -> Any:
    if may_be_bare and not content.lstrip(BLANK).startswith((b"{", b"[")):
        return {BARE: _value(checked(content))}
    is_large = may_be_large or begins_array(content)
    return decode_reading(content, MAX_UNPACKED if is_large else MAX_PAYLOAD)


def _value(content: bytes) -> Any:
    """Return a payload that is no object: JSON, or else a text or number as it is."""
    text = content.decode().strip()
    if NUMBER.fullmatch(text):
        return (
            int(text) if text.lstrip("+-").isdigit() and len(text) < MAX_DIGITS else Spelled(text)
        )
    try:
        return decode_reading(content)
    except PayloadError:
        return Bare(text)


def _decoder(shape: PayloadShape) -> Decoder:
    match shape.format:
        case "json":
            explodes = bool(shape.exploded) or shape.pairs is not None
            keeps_rest = shape.rest == "keep"
            return lambda content: _decoded(content, may_be_large=explodes, may_be_bare=keeps_rest)
        case "csv":
            return Table(shape.columns, shape.separator).decode
        case "influx" | "senml" | "msgpack" | "sparkplug":
            return _DECODERS[shape.format]
        case "cbor":
            from ingest.formats import cbor  # noqa: PLC0415 - it needs a package that few want

            return cbor.decode
        case _:
            assert_never(shape.format)
