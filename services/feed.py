"""What live clients get: events, what a client is interested in, and what waits for it."""

import threading
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import msgspec

MAX_WAITING = 10_000
MAX_WAITING_SIZE = 8_000_000
"""Events, and characters of their JSON, that wait for one client; of more, the oldest are dropped.

It can ask for what it missed.
"""


class Interest(NamedTuple):
    """The readings of a stream, and what else happens to its devices; of one device or of all."""

    stream: str
    device_id: str | None = None


GAP = "gap"
EVERYONE = Interest("*")
"""What is sent to everybody who has this interest, whichever streams they ask for."""


class Event:
    """Something that was committed: a `reading`, a `command`, a `presence`, or what is told to `everyone`.

    A `gap` says which readings of a device were left out.
    """

    def __init__(
        self,
        name: str,
        device_id: str,
        document: dict[str, Any],
        stream: str = "",
        part: str = "",
        *,
        everyone: bool = False,
    ) -> None:
        self.name = name
        self.device_id = device_id
        self.stream = stream
        self.document = document
        self.everyone = everyone
        self.key = (name, stream, device_id, part)
        """A newer event with the same key makes this one superfluous."""
        self._below: dict[str, Event] = {}

    @property
    def data(self) -> dict[str, Any]:
        """What the client gets."""
        if self.name == GAP or self.everyone or not self.stream:
            return self.document
        return {"stream": self.stream, "data": self.document}

    @property
    def reading_id(self) -> int | None:
        """The id of the reading that it is about; None if it is not about one."""
        return self.document["id"] if self.name == "reading" else None

    def replacing(self, older: "Event | None") -> "Event":
        """This event in the place of an older one with its key, which nobody was sent."""
        if older is None or self.name != GAP:
            return self
        first = min(older.document["from_id"], self.document["from_id"])
        last = max(older.document["to_id"], self.document["to_id"])
        return gap(self.stream, self.device_id or None, first, last, self.key[3])

    @property
    def is_of_all(self) -> bool:
        """Whether it is a gap in the readings of any device."""
        return self.name == GAP and not self.device_id

    def below(self, root: str) -> "Event":
        """The same for a client that reaches the API below this path of a proxy."""
        if not root or "url" not in self.document:
            return self
        if root not in self._below:
            document = self.document | {"url": root + self.document["url"]}
            self._below[root] = Event(self.name, self.device_id, document, self.stream, self.key[3])
        return self._below[root]

    def made(self) -> "Event":
        """This event, with its JSON text ready."""
        _ = self.json
        return self

    @cached_property
    def json(self) -> str:
        """The same as JSON text, made once for all clients."""
        return msgspec.json.encode(self.data).decode()


def gap(stream: str, device_id: str | None, first: int, last: int, part: str = "") -> Event:
    """Readings of a device, or of any, whose ids are from `first` to `last`, were not sent."""
    details = {"stream": stream, "device_id": device_id, "from_id": first, "to_id": last}
    return Event(GAP, device_id or "", details, stream, part)


class LiveClient(Protocol):
    """Someone who is sent events."""

    interests: frozenset[Interest]

    def offer(self, event: Event) -> None:
        """Take an event, at once and without waiting."""

    def flush(self) -> bool:
        """Send what could not be sent before; whether something is left."""

    def close(self) -> None:
        """There will be no more events."""


def wants(interests: frozenset[Interest], event: Event) -> bool:
    """Whether an event is among someone's interests."""
    if event.everyone:
        return EVERYONE in interests
    if event.is_of_all:
        return any(interest.stream == event.stream for interest in interests)
    if event.stream:
        return not interests.isdisjoint(
            (Interest(event.stream), Interest(event.stream, event.device_id))
        )
    return any(interest.device_id in (None, event.device_id) for interest in interests)


class Backlog:
    """What waits for one client: of each kind and device the newest, and of too much the oldest is dropped.

    In the place of all readings of a stream that were dropped there is one gap.
    """

    def __init__(self) -> None:
        self._events: dict[tuple[str, ...], Event] = {}
        self._gaps: dict[tuple[str, ...], Event] = {}
        """Those of any device: at most one for each stream, and never dropped."""
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._events or self._gaps)

    def put(self, event: Event) -> None:
        """Add an event, in the place of an older one with its key."""
        if event.is_of_all:
            self._gaps[event.key] = event.replacing(self._gaps.get(event.key))
            return
        before = self._events.get(event.key)
        kept = self._events[event.key] = event.replacing(before)
        self._size += len(kept.json) - (len(before.json) if before else 0)
        while len(self._events) > MAX_WAITING or self._size > MAX_WAITING_SIZE:
            self._drop(next(iter(self._events.values())))

    def in_order(self) -> list[Event]:
        """What waits: what was left out, then the readings by their ids."""
        # A client that loses its connection goes on from the highest id that it has seen.
        return [
            *self._gaps.values(),
            *sorted(self._events.values(), key=lambda event: event.reading_id or 0),
        ]

    def remove(self, event: Event) -> None:
        """Forget an event."""
        if event.is_of_all:
            del self._gaps[event.key]
        else:
            self._size -= len(self._events.pop(event.key).json)

    def take_all(self) -> list[Event]:
        """What waits, in order; nothing does any longer."""
        events = self.in_order()
        self._events, self._gaps, self._size = {}, {}, 0
        return events

    def _drop(self, event: Event) -> None:
        self.remove(event)
        if (left_out := _left_out(event)) is not None:
            self.put(left_out)


def _left_out(event: Event) -> Event | None:
    """The gap that a dropped event leaves; None for a state, which has no place among the readings."""
    if event.name == GAP:
        return gap(event.stream, None, event.document["from_id"], event.document["to_id"])
    if event.reading_id is not None:
        return gap(event.stream, None, event.reading_id, event.reading_id)
    return None


class Mailbox:
    """A client that fetches its events; of those it has not fetched yet, the newest of each kind and device is kept."""

    def __init__(self, interests: Iterable[Interest]) -> None:
        self.interests = frozenset(interests)
        self.closed = False
        self._changed = threading.Condition()
        self._waiting = Backlog()

    def offer(self, event: Event) -> None:
        """Keep an event, in the place of an older one of the same kind."""
        with self._changed:
            self._waiting.put(event)
            self._changed.notify()

    def flush(self) -> bool:
        """Nothing to do: the client fetches."""
        return False

    def close(self) -> None:
        """Wake the client for the last time."""
        with self._changed:
            self.closed = True
            self._changed.notify()

    def take(self, timeout: float) -> list[Event]:
        """The events that wait, as soon as there are some; none after `timeout` seconds or when closed."""
        with self._changed:
            if not self._waiting and not self.closed:
                self._changed.wait(timeout)
            return self._waiting.take_all()
