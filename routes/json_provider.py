"""JSON for Flask by msgspec, which is several times faster than the standard library."""

import contextlib
import json
from typing import Any

import msgspec
from flask.json.provider import DefaultJSONProvider

from utils import exact_numbers, lenient_json
from utils.lenient_json import BOM
from utils.text import printable

MAX_NAME = 60
# Floats are left to the second pass: an overflow would end this one without a place.
_STRICT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=str)


class UnclearJson(ValueError):
    """JSON whose meaning is lost by reading it: a repeated key, or a number that no float holds."""


class CompactJson(DefaultJSONProvider):
    """Writes compact JSON, with keys in insertion order."""

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Parse the JSON text of a request, also after a byte order mark.

        Raises ValueError for invalid JSON, including NaN, lone surrogates and deep nesting, and
        UnclearJson.
        """
        text = s.encode() if isinstance(s, str) else s.removeprefix(BOM)
        try:
            content = text.decode()
            # It raises ValidationError for an integer that is too long, which is named below.
            with contextlib.suppress(msgspec.ValidationError):
                _STRICT.decode(text)
            found = _decoded(content)
        except UnicodeDecodeError as error:
            raise ValueError(f"byte {error.start} is not valid UTF-8") from error
        except msgspec.DecodeError as error:
            raise ValueError(lenient_json.why(text)) from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        for fault in exact_numbers.faults(found):
            raise UnclearJson(fault)
        return found

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return JSON text."""
        return msgspec.json.encode(obj, enc_hook=self.default).decode()


class IndentedJson(CompactJson):
    """Writes indented JSON for people to read."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return JSON text with a line for each entry."""
        return msgspec.json.format(super().dumps(obj), indent=2) + "\n"


def _decoded(text: str) -> Any:
    """Decode valid JSON. Raises UnclearJson for a repeated key."""
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=exact_numbers.integer,
        parse_float=exact_numbers.number,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            shown = printable(name[:MAX_NAME])
            raise UnclearJson(f"{shown}: occurs twice in one object; send it once")
        fields[name] = value
    return fields
