"""MessagePack."""

from typing import Any

import msgspec

from ingest.formats.trees import NoJson, plain_document
from ingest.json_payloads import check_size
from ingest.unpacking import MAX_UNPACKED
from ingest.values import PayloadError


def decode(payload: bytes) -> Any:
    """Return the document, with the types of decoded JSON. Raises PayloadError."""
    check_size(payload, MAX_UNPACKED)
    try:
        return plain_document(msgspec.msgpack.decode(payload), _special)
    except UnicodeDecodeError as error:
        message = f"a text has bytes that are not valid UTF-8: {error.reason}"
        raise PayloadError("invalid_utf8", message) from error
    except msgspec.DecodeError as error:
        why = str(error).removeprefix("MessagePack data is malformed: ")
        raise PayloadError("invalid_msgpack", f"not valid MessagePack: {why}") from error
    except NoJson as error:
        raise PayloadError("invalid_msgpack", str(error)) from error
    except RecursionError as error:
        raise PayloadError("too_deep", "the MessagePack is nested too deeply") from error


def _special(value: Any) -> Any:
    if isinstance(value, msgspec.msgpack.Ext):
        known = "only -1, a timestamp, is known"
        raise NoJson(f"an extension of the type {value.code}; {known}")
    raise NoJson(f"a value of the type {type(value).__name__}")
