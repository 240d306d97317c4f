"""A `Metric` and its parts: the declaration of one column."""

from typing import Literal

import msgspec

MetricType = Literal["number", "text", "boolean", "integer"]
"""The type of a metric's values."""
MAX_INTEGER = 2**63 - 1
"""The largest value of an integer metric; the smallest is one below its negative."""
Value = float | int | str | bool
"""A stored value of a metric."""
Values = tuple[Value | None, ...]
"""The values of a reading in the order of its stream's metrics; None where it has no value."""


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a simulated device generates the values of a metric."""

    mean: float = 50.0
    swing: float = 0.0
    """Half the difference between the daily low and the daily high."""
    noise: float = 1.0
    """Standard deviation of the random walk around the daily course."""
    minimum: float | None = None
    maximum: float | None = None
    product: tuple[str, ...] = ()
    """Metrics whose product is the value, instead of a random walk."""
    factor: float = 1.0
    """The factor that the product is multiplied by."""
    states: tuple[str, ...] = ("on", "off")
    """The possible values of a text metric."""
    hold: float = 300.0
    """How many seconds a value of a text metric lasts on average."""


class Advice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do about a value below or above its ideal band."""

    low: str = ""
    high: str = ""


ByteFormat = Literal[
    "u8",
    "i8",
    "u16",
    "i16",
    "u32",
    "i32",
    "f32",
    "f64",
    "u16le",
    "i16le",
    "u32le",
    "i32le",
    "f32le",
    "f64le",
]
"""A number in bytes: unsigned, signed or floating-point, its bits; big-endian unless `le`."""
ByteEncoding = Literal["hex", "base64"]
_STRUCT = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f"}


class BytesAt(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"kind": "as", "encoding": "from"},
):
    """A number among the bytes of a text."""

    at: int
    """The index of its first byte."""
    kind: ByteFormat
    encoding: ByteEncoding = "hex"

    @property
    def format(self) -> str:
        """The format for the module `struct`."""
        order = "<" if self.kind.endswith("le") else ">"
        return order + (_STRUCT | {"f64": "d"})[self.kind.removesuffix("le")]


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured quantity of a stream, and a column of its table."""

    name: str = ""
    title: str = ""
    unit: str = ""
    type: MetricType = "number"
    required: bool = False
    plural: str = ""
    """The key in ml-data; by default the metric's name."""
    level: str = ""
    """The value of the topic level `{metric}`; by default the metric's name."""
    path: str | tuple[str, ...] = ()
    """Where it is in the payload, by default under its name; of several paths, the first that has
    a value."""
    map: dict[str, float | int | str | bool] = {}
    """What a text, a number or a boolean means; others mean themselves."""
    scale: float = 1.0
    """The factor that the number in the payload is multiplied by."""
    offset: float = 0.0
    """What is added to the number after that."""
    suffix: str = ""
    """A unit behind the number that means the same as `unit`."""
    split: str = ""
    """The separator of the pieces of a text."""
    item: int | None = None
    """Which piece of a text or element of an array it is."""
    base: int = 0
    """The base of the digits of a text, or 0."""
    bytes: BytesAt | None = None
    """Where it is in a text with bytes."""
    ideal: tuple[float, float] | None = None
    """The ideal band of the value; with it, the metric is a factor of the health index."""
    weight: float = 1.0
    """The weight of the factor in the health index."""
    advice: Advice = Advice()
    event: str = ""
    """A Socket.IO event that is sent to every client with each new value."""
    simulate: Simulation = Simulation()

    @property
    def paths(self) -> tuple[str, ...]:
        """The declared paths, or its quoted name."""
        declared = (self.path,) if isinstance(self.path, str) else self.path
        return declared or (f'"{self.name}"',)

    @property
    def is_plain(self) -> bool:
        """Whether its value is under its name, as it is stored."""
        reshaping = (self.path, self.map, self.split, self.base, self.bytes, self.offset)
        return not any(reshaping) and self.item is None and self.scale == 1

    @property
    def is_numeric(self) -> bool:
        """Whether its values have an average, a minimum and a maximum; true counts as 1."""
        return self.type != "text"

    @property
    def is_quantity(self) -> bool:
        """Whether its values are numbers."""
        return self.type in ("number", "integer")
