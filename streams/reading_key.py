"""The key of a reading: together with device and time, it identifies a reading.

It is a hash of the names and stored values of the metrics that have a value, sorted by name. It
does not depend on the transport, the spelling of the payload, or metrics declared later.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Self

from streams.metric import Value
from streams.stream import Stream
from utils.exact_numbers import EXACT

_SIGNED = struct.Struct(">q")
NEGATIVE_ZERO = struct.pack(">d", -0.0)


class ReadingKey:
    """Computes the keys of a stream's readings; `names` are its metrics in the order of values.

    An integer that a float represents has the key of that float, as true has the key of 1.
    """

    def __init__(self, names: Sequence[str], *, has_integers: bool = False) -> None:
        self._has_integers = has_integers
        # Lower case: a column keeps its first spelling, and names differ in more than case.
        self._ordered = sorted((name.lower().encode(), index) for index, name in enumerate(names))
        self._indexes = [index for _, index in self._ordered]
        self._head = _head(name for name, _ in self._ordered)
        self._pack = struct.Struct(f">{len(names)}d").pack
        self._pick: Callable[[Sequence[Any]], Sequence[Any]] = (
            itemgetter(*self._indexes) if len(names) > 1 else tuple
        )

    @classmethod
    def of_stream(cls, stream: Stream) -> Self:
        """Return what computes the keys of a stream."""
        has_integers = any(metric.type == "integer" for metric in stream.metrics)
        return cls([metric.name for metric in stream.metrics], has_integers=has_integers)

    def with_rest(self, values: Sequence[Any], rest: Mapping[str, Value]) -> int:
        """Return the same where there are other fields: a metric with such a name has its key."""
        pairs = [(name, values[index]) for name, index in self._ordered]
        pairs += [(name.lower().encode(), value) for name, value in rest.items()]
        return _of_pairs(sorted(pairs, key=lambda pair: pair[0]))

    def of(self, values: Sequence[Any]) -> int:
        """Return a signed 64-bit hash of the values: a number, text or None for each metric."""
        try:
            packed = self._pack(*self._pick(values))
        except struct.error:  # a text or None
            return self._of_some(values)
        if self._has_integers or NEGATIVE_ZERO in packed:
            return self._of_some(values)
        return _hashed(self._head + packed)

    def _of_some(self, values: Sequence[Any]) -> int:
        return _of_pairs([(name, values[index]) for name, index in self._ordered])


def _of_pairs(pairs: Sequence[tuple[bytes, Value | None]]) -> int:
    present = [(name, value) for name, value in pairs if value is not None]
    encoded = b"".join(_encoded(value) for _, value in present)
    return _hashed(_head(name for name, _ in present) + encoded)


def _head(names: Any) -> bytes:
    return b"\0".join(names) + b"\0\0"


def _encoded(value: Value) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">I", len(text)) + text
    if isinstance(value, int) and not -EXACT < value < EXACT:
        return b"i" + _SIGNED.pack(value)
    return struct.pack(">d", value + 0.0)  # -0.0 + 0.0 is 0.0


def _hashed(content: bytes) -> int:
    number: int = _SIGNED.unpack(blake2b(content, digest_size=8).digest())[0]
    return number
