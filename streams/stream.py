"""A `Stream` and its parts: a declaration after it was read and checked."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from streams.topics import TopicParts, TopicPattern

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
    ideal: tuple[float, float] | None = None
    """The ideal band of the value; with it, the metric is a factor of the health index."""
    weight: float = 1.0
    """The weight of the factor in the health index."""
    advice: Advice = Advice()
    event: str = ""
    """A Socket.IO event that is sent to every client with each new value."""
    simulate: Simulation = Simulation()

    @property
    def is_numeric(self) -> bool:
        """Whether its values have an average, a minimum and a maximum; true counts as 1."""
        return self.type != "text"

    @property
    def is_quantity(self) -> bool:
        """Whether its values are numbers."""
        return self.type in ("number", "integer")


class Timestamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The field with the device's own time, and whether it is required."""

    field: str = "timestamp"
    required: bool = False


class Devices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The simulated devices of a stream."""

    names: str = ""
    """The device ids, with a placeholder for the number: `ESP32_{:03}`."""
    interval: float = 1.0
    """Seconds between two messages of one device."""
    resume: bool = False
    """Whether a device continues from its last stored reading."""
    levels: dict[str, str] = {}
    """Values of the topic's placeholders that do not form the device id."""


class HealthRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The topics on which health is published."""

    analysis_topic: str = ""
    """The topic for the analysis of each committed reading."""
    status_topic: str = ""
    """The topic for the status of the backend."""

    def topics(self) -> dict[str, str]:
        """Return the declared topics, by key."""
        topics = {
            "health.analysis_topic": self.analysis_topic,
            "health.status_topic": self.status_topic,
        }
        return {key: topic for key, topic in topics.items() if topic}


class Oee(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metrics from which the overall equipment effectiveness is computed."""

    status: str
    performance: str
    quality: str
    running: tuple[str, ...] = ("Running",)
    """The states in which the machine produces."""
    gap: float = 300.0
    """Seconds; between readings further apart, the state of the machine is unknown."""


class Hours(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """The price from an hour of the day until another, exclusive."""

    start: int
    end: int
    price: float


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of a kilowatt-hour."""

    price: float
    currency: str = ""
    hours: tuple[Hours, ...] = ()
    """Hours of the day with another price."""
    export: float | None = None
    """The price paid for a kilowatt-hour fed into the grid; None for the price of the hour."""

    def at(self, hour: int) -> float:
        """Return the price of a kilowatt-hour in an hour of the day, 0 to 23."""
        return next(
            (hours.price for hours in self.hours if hours.start <= hour < hours.end), self.price
        )


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metrics from which energy is computed."""

    power: str
    """The metric with the power in watts."""
    counter: str = ""
    """The metric with the counter of a meter in kilowatt-hours, which is preferred to power."""
    gap: float = 900.0
    """Seconds; between readings further apart, power is not integrated."""
    tariff: Tariff | None = None


@dataclass(frozen=True)
class Stream:
    """One kind of reading, as declared."""

    name: str
    title: str
    topics: tuple[TopicPattern, ...]
    excluded: frozenset[str]
    """Levels whose topics do not belong to the stream."""
    table: str
    device: str
    """The payload's field with the device id; if the topic has the id too, they must agree."""
    device_levels: tuple[str, ...]
    """The placeholders of the topic that form the device id, joined by `-`."""
    device_default: str
    """The device id of a message that names none; if empty, such a message is rejected."""
    values: str
    """The payload's field that contains the values; empty for values at the top level."""
    timestamp: Timestamp
    metrics: tuple[Metric, ...]
    simulate: Devices = field(hash=False)
    health: HealthRules
    oee: Oee | None
    energy: Energy | None

    @property
    def topic(self) -> TopicPattern:
        """The first topic, on which simulated devices publish."""
        return self.topics[0]

    @property
    def is_named_by_topic(self) -> bool:
        """Whether the topic contains the device id."""
        return self.topic.has_device or bool(self.device_levels)

    def device_of(self, parts: TopicParts) -> str | None:
        """Return the device id that a topic contains."""
        if not self.device_levels:
            return parts.device_id
        return "-".join(parts.names[name] for name in self.device_levels)

    def topic_of(self, device_id: str, metric_level: str = "") -> str:
        """Return a topic of one device, and of one value of `{metric}` if the topic has it."""
        split = device_id.split("-", max(0, len(self.device_levels) - 1))
        own = dict(zip(self.device_levels, split, strict=False))
        return self.topic.fill(device_id, metric_level, self.simulate.levels | own)

    def can_name(self, device_id: str) -> bool:
        """Return whether a message can have this device id, in the topic or the payload."""
        if not self.device_levels:
            return self.topic.has_device or bool(self.device)
        return device_id.count("-") >= len(self.device_levels) - 1

    @property
    def factors(self) -> tuple[Metric, ...]:
        """The metrics with an ideal band, from which the health index is computed."""
        return tuple(metric for metric in self.metrics if metric.ideal is not None)

    @property
    def lackable(self) -> tuple[Metric, ...]:
        """The optional metrics, which a reading may lack."""
        if self.topic.has_metric:
            return self.metrics
        return tuple(metric for metric in self.metrics if not metric.required)
