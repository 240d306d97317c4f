"""What a stream is: the parts of a declaration, as they are when it has been read and found right."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from streams.topics import TopicPattern


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a simulated device makes up values of a metric."""

    mean: float = 50.0
    swing: float = 0.0
    """Half the difference between the daily low and the daily high."""
    noise: float = 1.0
    """Standard deviation of the random walk around the daily course."""
    minimum: float | None = None
    maximum: float | None = None
    product: tuple[str, ...] = ()
    """Metrics whose product the value is, instead of a walk of its own."""
    factor: float = 1.0
    """By which the product is multiplied."""
    states: tuple[str, ...] = ("on", "off")
    """For text: what the device may say."""
    hold: float = 300.0
    """For text: how many seconds a state lasts on average."""


class Advice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do about a value that is off its ideal band."""

    low: str = ""
    high: str = ""


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured quantity of a stream; it is a column of the table."""

    name: str = ""
    title: str = ""
    unit: str = ""
    type: Literal["number", "text"] = "number"
    required: bool = False
    plural: str = ""
    """The key in ml-data; the metric's name unless declared."""
    level: str = ""
    """What stands in the topic's `{metric}` level; the metric's name unless declared."""
    ideal: tuple[float, float] | None = None
    """The band in which the value is ideal; it makes the metric a factor of the health index."""
    weight: float = 1.0
    """How much the factor counts in the health index."""
    advice: Advice = Advice()
    event: str = ""
    """A Socket.IO event that every client gets with each new value."""
    simulate: Simulation = Simulation()


class Timestamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the device's own time is and whether it must be there."""

    field: str = "timestamp"
    required: bool = False


class Devices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the simulated devices of a stream are."""

    names: str = ""
    """Their ids, with a place for the number: `ESP32_{:03}`."""
    interval: float = 1.0
    """Seconds between two messages of one device."""
    resume: bool = False
    """Whether they go on from the last stored reading."""


class HealthRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the health of each committed reading is published."""

    analysis_topic: str = ""
    status_topic: str = ""
    """Where the backend says how it is itself."""

    def topics(self) -> dict[str, str]:
        """Those that are declared, by their keys."""
        topics = {"health.analysis_topic": self.analysis_topic, "health.status_topic": self.status_topic}
        return {key: topic for key, topic in topics.items() if topic}


class Oee(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which metrics the overall equipment effectiveness is computed."""

    status: str
    performance: str
    quality: str
    running: tuple[str, ...] = ("Running",)
    """The states in which the machine produces."""
    gap: float = 300.0
    """Seconds; what the machine did between readings further apart than this is unknown."""


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A price that holds from an hour of the day until before another."""

    start: int
    end: int
    price: float


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a kilowatt-hour costs."""

    price: float
    currency: str = ""
    hours: tuple[Hours, ...] = ()
    """Hours of the day with another price."""
    export: float | None = None
    """What is paid for a kilowatt-hour that is fed in; None for the price of the hour."""

    def at(self, hour: int) -> float:
        """The price of a kilowatt-hour in an hour of the day, 0 to 23."""
        return next((hours.price for hours in self.hours if hours.start <= hour < hours.end), self.price)


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which metrics energy is computed."""

    power: str
    """In watts."""
    counter: str = ""
    """A meter's own counter, in kilowatt-hours; energy is taken from it where there is one."""
    gap: float = 900.0
    """Seconds; power is not integrated between readings further apart than this."""
    tariff: Tariff | None = None


@dataclass(frozen=True)
class Stream:
    """One kind of reading, as declared."""

    name: str
    title: str
    topic: TopicPattern
    table: str
    device: str
    """The payload's field with the device id; where the topic has the id, it must agree if present."""
    device_default: str
    """The device id of a message that names none; empty where that is a fault."""
    values: str
    """The payload's field under which the values are nested; empty where they are at the top."""
    timestamp: Timestamp
    metrics: tuple[Metric, ...]
    simulate: Devices
    health: HealthRules
    oee: Oee | None
    energy: Energy | None

    @property
    def factors(self) -> tuple[Metric, ...]:
        """The metrics with an ideal band; there is a health index if there are any."""
        return tuple(metric for metric in self.metrics if metric.ideal is not None)

    @property
    def lackable(self) -> tuple[Metric, ...]:
        """The metrics that a reading may lack."""
        if self.topic.has_metric:
            return self.metrics
        return tuple(metric for metric in self.metrics if not metric.required)
