"""Choose the decoder of a stream's payloads by their format."""

from collections.abc import Callable
from typing import Any, assert_never

from ingest.formats import influx, msgpack, senml
from ingest.formats.table import Table
from ingest.json_payloads import MAX_PAYLOAD, begins_array, decode_reading
from ingest.unpacking import MAX_UNPACKED, inflated, unpacked
from streams.payload_shape import PayloadShape

Decoder = Callable[[bytes], Any]


def document_decoder(shape: PayloadShape) -> Decoder:
    """Return a function that turns a payload, as it was received, into a document.

    The document has the types of decoded JSON; numbers may be `Spelled`. If it has several
    readings, it is a list, whose members are objects or PayloadError. The function unpacks the
    payload: only texts may have NULs behind them. It raises PayloadError.
    """
    decode, is_text = _decoder(shape), shape.format not in ("cbor", "msgpack")
    unpack, declared = unpacked if is_text else inflated, shape.unpack
    return lambda payload: decode(unpack(payload, declared))


def _decoded(content: bytes, *, may_be_large: bool) -> Any:
    is_large = may_be_large or begins_array(content)
    return decode_reading(content, MAX_UNPACKED if is_large else MAX_PAYLOAD)


def _decoder(shape: PayloadShape) -> Decoder:
    match shape.format:
        case "json":
            explodes = bool(shape.exploded) or shape.pairs is not None
            return lambda content: _decoded(content, may_be_large=explodes)
        case "csv":
            return Table(shape.columns, shape.separator).decode
        case "influx":
            return influx.decode
        case "senml":
            return senml.decode
        case "msgpack":
            return msgpack.decode
        case "cbor":
            from ingest.formats import cbor  # noqa: PLC0415 - it needs a package that few want

            return cbor.decode
        case _:
            assert_never(shape.format)
