"""What a payload looks like: where its values are, and what in it means no value."""

from typing import Literal

import msgspec

Format = Literal["json", "csv", "influx", "senml", "cbor", "msgpack", "sparkplug"]
Empty = Literal["reject", "ignore"]
Decimal = Literal[".", ","]
Unpack = Literal["", "deflate"]
Retained = Literal["timed", "store", "ignore"]
Rest = Literal["", "keep"]

MAX_COLUMNS = 1_000
"""Columns of CSV."""
SENML_DEVICE, SENML_TIME = "bn", "timestamp"
"""The fields of a decoded SenML document with the device and the time."""
INFLUX_FIELDS = "fields"
"""Where all fields of a line of InfluxDB's protocol are; most are also at the top."""
INFLUX_OWN = ("measurement", "tags", INFLUX_FIELDS, "timestamp")
"""What its readings have at the top besides fields."""


class Pairs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"array": "in"}):
    """An array of names and values, each pair of which is a field."""

    name: str
    """The path of the name in a pair."""
    value: str
    """The path of its value."""
    array: str = ""
    """The path of the array; empty for the payload itself."""
    time: str = ""
    """The path of its time; the pairs of one time are one reading."""


class PayloadShape(msgspec.Struct, frozen=True):
    """The keys of a declaration that say how the payloads of its stream are read."""

    format: Format = "json"
    """How payloads are written."""
    columns: tuple[str, ...] = ()
    """The names of the columns of CSV; empty if the first line of each payload has them."""
    separator: str = ","
    """What separates the cells of CSV."""
    unpack: Unpack = ""
    """How payloads are compressed, if their first bytes do not say it."""
    values: str = ""
    """The path of the object with the metrics; empty for the payload itself."""
    explode: str | tuple[str, ...] = ()
    """The path of the array or object whose members are readings, `*` for the payload itself;
    several paths are arrays that belong together, element by element."""
    pairs: Pairs | None = None
    """Where the fields are an array of names and values."""
    only: dict[str, str | int | float | bool] = {}
    """The values that fields must have, by path; other messages are ignored."""
    empty: Empty = "reject"
    """What becomes of a message that has none of the metrics."""
    null: tuple[str, ...] = ()
    """Texts and numbers that mean no value."""
    decimal: Decimal = "."
    """The decimal separator of numbers in texts."""
    retained: Retained = "timed"
    """Which retained messages are readings: with a time of their own, all, or none."""
    rest: Rest = ""
    """Whether fields that no metric takes are kept."""

    @property
    def exploded(self) -> tuple[str, ...]:
        """The paths whose members are readings."""
        paths = (self.explode,) if isinstance(self.explode, str) else self.explode
        return tuple(filter(None, paths))
