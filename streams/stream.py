"""A `Stream` and its parts: a declaration after it was read and checked."""

from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from streams.metric import Metric
from streams.paths import Path
from streams.payload_shape import PayloadShape
from streams.topics import PLACEHOLDER, TopicParts, TopicPattern, name_of

KEY = "{key}"
"""The part of a device id that is the key of a reading in the object that explodes."""


class Timestamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The field with the device's own time, how it is written, and whether it is required."""

    field: str | tuple[str, str] = "timestamp"
    """Its path, or those of a date and a time of day."""
    required: bool = False
    zone: str = ""
    """The zone of times without an offset, or their offset; by default UTC."""
    format: str = ""
    """The format for `strptime`, or the unit of a number: s, ms, us or ns."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths of its parts."""
        return (self.field,) if isinstance(self.field, str) else self.field

    @property
    def name(self) -> str:
        """The paths as people read them."""
        return " ".join(self.fields)


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


class PresenceRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The topic on which the stream's devices say that they are online, or their wills the end."""

    topic: str
    online: str | tuple[str, ...] = "online"
    """The word, or the words, of a device that is online."""
    offline: str | tuple[str, ...] = "offline"

    @property
    def pattern(self) -> TopicPattern:
        """The topic's pattern."""
        return TopicPattern.of(self.topic)

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """The words by their key."""
        return {"online": _texts(self.online), "offline": _texts(self.offline)}


def _texts(declared: str | tuple[str, ...]) -> tuple[str, ...]:
    return (declared,) if isinstance(declared, str) else declared


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
    device_parts: tuple[str, ...]
    """The parts of the device id, which `-` joins: paths, and placeholders of the topic."""
    device_default: str
    """The device id of a message that names none; if empty, such a message is rejected."""
    shape: PayloadShape = field(hash=False)
    timestamp: Timestamp
    metrics: tuple[Metric, ...] = field(hash=False)
    simulate: Devices = field(hash=False)
    presence: PresenceRules | None
    health: HealthRules
    oee: Oee | None
    energy: Energy | None

    @property
    def values(self) -> str:
        """The path of the payload's object with the metrics; empty for the payload itself."""
        return self.shape.values

    @property
    def keeps_rest(self) -> bool:
        """Whether fields that no metric takes are stored, too."""
        return self.shape.rest == "keep"

    @property
    def is_plain(self) -> bool:
        """Whether every field is under its name, and its value as it is stored."""
        time = self.timestamp
        texts = [self.device, *time.fields, self.values]
        is_flat = all(Path.of(text).keys == (text,) for text in texts if text)
        has_usual_time = len(time.fields) == 1 and not time.format
        is_usual = self.shape == PayloadShape(values=self.values, empty=self.shape.empty)
        has_parts = bool(self.device_parts) and not self.is_joined_from_topic
        has_plain_metrics = all(metric.is_plain for metric in self.metrics)
        return is_flat and has_usual_time and is_usual and has_plain_metrics and not has_parts

    @property
    def topic(self) -> TopicPattern:
        """The first topic, on which simulated devices publish."""
        return self.topics[0]

    @property
    def received(self) -> tuple[TopicPattern, ...]:
        """The topics on which its devices are heard: of their readings and of their presence."""
        return self.topics if self.presence is None else (*self.topics, self.presence.pattern)

    @property
    def is_named_by_topic(self) -> bool:
        """Whether the topic contains the device id."""
        return self.topic.has_device or self.is_joined_from_topic

    @property
    def is_joined_from_topic(self) -> bool:
        """Whether the device id consists of levels of the topic alone."""
        return bool(self.device_parts) and not self.device_paths and KEY not in self.device_parts

    @property
    def is_named_by_payload(self) -> bool:
        """Whether a payload has to say which device it is of."""
        has_part = bool(self.device_paths) or KEY in self.device_parts
        return has_part and not self.is_named_by_topic

    @cached_property
    def device_paths(self) -> tuple[str, ...]:
        """The paths of the device id, or of those of its parts that are in the payload."""
        parts = self.device_parts or ((self.device,) if self.device else ())
        return tuple(part for part in parts if PLACEHOLDER.fullmatch(part) is None)

    def device_of(self, parts: TopicParts) -> str | None:
        """Return the device id that a topic contains."""
        if not self.is_joined_from_topic:
            return parts.device_id
        known = {"device_id": parts.device_id or "", **parts.names}
        return "-".join(known[name_of(part)] for part in self.device_parts)

    @property
    def names_of_device(self) -> tuple[str, ...]:
        """The placeholders that a topic needs to contain the device id; see `device_of`."""
        if not self.is_joined_from_topic:
            return ("device_id",)
        return tuple(name_of(part) for part in self.device_parts)

    def parts_of(self, device_id: str) -> dict[str, str]:
        """Return the values of the parts of a device id, by part."""
        split = device_id.split("-", max(0, len(self.device_parts) - 1))
        return dict(zip(self.device_parts, split, strict=False))

    def topic_of(self, device_id: str, metric_level: str = "") -> str:
        """Return a topic of one device, and of one value of `{metric}` if the topic has it."""
        own = {name_of(part): value for part, value in self.parts_of(device_id).items()}
        named = own.get("device_id", device_id)
        return self.topic.fill(named, metric_level, self.simulate.levels | own)

    def can_name(self, device_id: str) -> bool:
        """Return whether a message can have this device id, in the topic or the payload."""
        if not self.device_parts:
            return self.topic.has_device or bool(self.device)
        return device_id.count("-") >= len(self.device_parts) - 1

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
