"""Subscribe to filters that may overlap, and detect copies of a message.

A broker may deliver a message once for each matching filter of a session. With MQTT 5 copies can be
detected: each filter that overlaps another is subscribed to with an identifier, which comes with
the message. The identifier consists of the filter's index and a hash of all such filters. The hash
differs for messages that waited while the filters changed, so they are never taken for copies.
MQTT 3.1.1 has no identifiers: there the broker decides.
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from broker.message import Message
from utils.caching import remembering
from utils.topic_filters import overlap

logger = logging.getLogger(__name__)
INDEX_BITS, SET_BITS = 8, 20
"""Together the 28 bits of an identifier; 0 is none."""
Asked = tuple[MQTTErrorCode, int | None]
"""What paho returns for a request: whether it was sent, and its packet id."""


class Subscriptions:
    """The filters of one session, their identifiers, and which messages are copies."""

    def __init__(self, filters: Sequence[str], *, version5: bool) -> None:
        self._filters = filters
        self._crossing = [one for one in filters if _crosses(one, filters)]
        self._ids = identifiers(self._crossing) if version5 else {}
        self.numbered = bool(self._ids)
        """Whether messages have identifiers; an attribute, because it is read for each message."""
        self._given = frozenset(self._ids.values())
        self._warned = False
        self._asked: dict[int, Sequence[str]] = {}
        """The filters of unanswered requests, by packet id."""
        self.denied: list[str] = []
        """The filters for which the broker does not grant QoS 1."""
        self._first: Callable[[str], int] = self._remember()

    def request(self, client: paho.Client, connack: Any) -> list[Asked]:
        """Subscribe; `connack` are the properties of the broker's answer to CONNECT."""
        if not getattr(connack, "SubscriptionIdentifierAvailable", 1):
            self._ids, self.numbered = {}, False
        self._warn()
        self._asked, self.denied, self._first = {}, [], self._remember()
        plain = [one for one in self._filters if one not in self._ids]
        # In this order: a message that comes by a filter also comes by each earlier filter that
        # matches it.
        asked = [self._ask(client, plain, None)] if plain else []
        for one, number in self._ids.items():
            asked.append(self._ask(client, [one], _numbered(number)))
        return asked

    def answered(self, packet_id: int, codes: Iterable[ReasonCode]) -> bool:
        """Record an answer; return whether it was the last one."""
        granted = zip(self._asked.pop(packet_id, ()), codes, strict=False)
        if denied := [one for one, code in granted if code.is_failure or code.value < 1]:
            self.denied += denied
            self._first = self._remember()
        return not self._asked

    def mark(self, messages: Iterable[Message]) -> None:
        """Mark the copies: messages that also come by an earlier filter."""
        for message in messages:
            if message.via:
                message.copy = self._is_copy(message)

    def _is_copy(self, message: Message) -> bool:
        if not self._ids or not self._given.issuperset(message.via):
            return False
        first = self._first(message.topic)
        return first != 0 and first not in message.via

    def _remember(self) -> Callable[[str], int]:
        granted = {one: number for one, number in self._ids.items() if one not in self.denied}

        def first(topic: str) -> int:
            matching = (n for one, n in granted.items() if topic_matches_sub(one, topic))
            return next(matching, 0)

        return remembering(first, 20_000)

    def _ask(
        self,
        client: paho.Client,
        filters: Sequence[str],
        properties: Properties | None,
    ) -> Asked:
        code, packet_id = client.subscribe([(one, 1) for one in filters], properties=properties)
        if packet_id is not None:
            self._asked[packet_id] = filters
        return code, packet_id

    def _warn(self) -> None:
        if self._warned or self._ids or not self._crossing:
            return
        self._warned = True
        logger.info(
            "Some topics match two of %s: without subscription identifiers (MQTT_PROTOCOL=5), "
            "an undated reading on such a topic is stored twice "
            "if the broker delivers it once for each filter",
            ", ".join(self._crossing),
        )


def identifiers(filters: Sequence[str]) -> dict[str, int]:
    """Return the identifier of each filter, in order; filters after the 255th have none."""
    set_id = zlib.crc32("\n".join(filters).encode()) % (1 << SET_BITS)
    indexes = range(1, 1 << INDEX_BITS)
    numbered = zip(indexes, filters, strict=False)
    return {one: set_id << INDEX_BITS | index for index, one in numbered}


def _crosses(one: str, filters: Sequence[str]) -> bool:
    return any(one != other and overlap(one, other) for other in filters)


def _numbered(number: int) -> Properties:
    properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]  # untyped
    properties.SubscriptionIdentifier = number
    return properties
