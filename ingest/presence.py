"""Presence: which devices are online, as reported by devices and brokers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

import queries.presence
from broker.message import Message
from broker.notifier import ChangeSet
from ingest.device_messages import read_object
from ingest.message import DeviceMessage, Ignored
from ingest.outcome import Applied
from ingest.showing import shortened, shown
from ingest.values import PayloadError
from models import EXCLUDED
from streams.presence_words import PresenceWord
from streams.stream import PresenceRules, Stream
from streams.topics import TopicPattern
from utils.lenient_json import BOM


class PresenceNotice(DeviceMessage, gc=False):
    """A report that a device is online, or offline; the broker may send it as the last will."""

    online: bool | None
    """None if the report was cleared."""
    stream: str = ""
    """The stream whose device it is; empty for a device of all streams."""


class PresenceState(NamedTuple):
    """What a device said last, in one stream or in all."""

    online: bool | None = None
    place: int = 0
    """Higher than the places of what the device said before."""


class PresenceNotices:
    """The kind of message that reports whether a device is online, on the topic of all streams."""

    parsed = PresenceNotice
    stream = None

    def __init__(self, topic: TopicPattern) -> None:
        self.topic = topic

    def read(self, device_id: str, message: Message) -> PresenceNotice:
        """Parse a presence message. Raises PayloadError."""
        return PresenceNotice(device_id, message, _is_online(message.payload))

    def apply(
        self, connection: Connection, notices: Sequence[PresenceNotice], now: datetime
    ) -> Applied:
        """Apply presence messages; the broker repeats retained ones at every connection."""
        rows = queries.presence.presence(connection, {notice.device_id for notice in notices})
        known = {
            (row["device_id"], row["stream"]): PresenceState(row["online"], row["place"])
            for row in rows
        }
        states: defaultdict[str, dict[str, PresenceState]] = defaultdict(dict)
        for (device_id, stream), state in known.items():
            states[device_id][stream] = state
        applied = Applied(unkeyed=[notice.message for notice in notices])
        changed: dict[queries.presence.Key, PresenceState] = {}
        for notice in notices:
            of_device = states[notice.device_id]
            if _is_repetition(notice, of_device):
                applied.duplicate += 1
                continue
            applied.stored += 1
            place = max((state.place for state in of_device.values()), default=0) + 1
            of_device[notice.stream] = PresenceState(notice.online, place)
            changed[notice.device_id, notice.stream] = of_device[notice.stream]
        applied.changes = ChangeSet(devices=sorted({device_id for device_id, _ in changed}))
        new = {key: state for key, state in changed.items() if key not in known}
        queries.presence.add(connection, new, now)
        old = {key: state for key, state in changed.items() if key in known}
        queries.presence.change(connection, old, now)
        return applied


class StreamPresence:
    """The reports of one stream's devices, on the topic of its table `presence`."""

    def __init__(self, stream: Stream, rules: PresenceRules) -> None:
        self.stream = stream
        self.topic = rules.pattern
        self._words = [
            (PresenceWord.declared(text), name == "online")
            for name, texts in rules.words.items()
            for text in texts
        ]
        # A level that the topic itself has is not meant for its messages.
        self._excluded = stream.excluded.difference(self.topic.levels)
        expected = [f"{name} = {_listed(texts)}" for name, texts in rules.words.items()]
        self._expected = f"{stream.name}.toml: presence: expected {' or '.join(expected)}"

    @classmethod
    def of(cls, streams: Iterable[Stream]) -> "list[StreamPresence]":
        """Return those of the streams that declare it."""
        return [cls(stream, stream.presence) for stream in streams if stream.presence]

    def read(self, device_id: str, message: Message) -> PresenceNotice | Ignored:
        """Parse a presence message. Raises PayloadError."""
        if not self._excluded.isdisjoint(message.topic.split("/")):
            return Ignored(EXCLUDED, message)
        online = self._is_online(message.payload) if message.payload else None
        return PresenceNotice(device_id, message, online, self.stream.name)

    def _is_online(self, payload: bytes) -> bool:
        said = PresenceWord.said(payload)
        for word, online in self._words:
            if word.means(said):
                return online
        raise PayloadError(
            "invalid_presence", f"{self._expected}, not {shortened(said.text[:100])}"
        )


def _listed(words: Iterable[str]) -> str:
    return " or ".join(shortened(word.strip()) for word in words)


def _is_repetition(notice: PresenceNotice, states: dict[str, PresenceState]) -> bool:
    """Return whether a notice says nothing new; `states` is what its device said, by stream.

    A live one that says again what another topic contradicted since is new. A retained one is not:
    the broker only repeats it.
    """
    own = states.get(notice.stream, PresenceState())
    if own.online is not notice.online:
        return False
    return notice.message.retained or not any(
        state.place > own.place and state.online is (not notice.online)
        for stream, state in states.items()
        if "" in (stream, notice.stream)
    )


def _is_online(payload: bytes) -> bool | None:
    if not payload:
        return None
    text = payload.removeprefix(BOM).strip()
    if text in (b"online", b"offline"):
        return text == b"online"
    status = read_object(payload).get("status")
    if status not in ("online", "offline"):
        message = f"status: expected online or offline, not {shown(status)}"
        raise PayloadError("invalid_presence", message)
    return bool(status == "online")
