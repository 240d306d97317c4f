"""What a payload looks like: where its values are, and what in it means no value."""

from typing import Literal

import msgspec

Empty = Literal["reject", "ignore"]
Decimal = Literal[".", ","]
Unpack = Literal["", "deflate"]
Retained = Literal["timed", "store", "ignore"]


class PayloadShape(msgspec.Struct, frozen=True):
    """The keys of a declaration that say how the payloads of its stream are read."""

    unpack: Unpack = ""
    """How payloads are compressed, if their first bytes do not say it."""
    values: str = ""
    """The path of the object with the metrics; empty for the payload itself."""
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
