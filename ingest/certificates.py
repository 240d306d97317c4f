"""Birth certificates of Sparkplug: learned while messages are parsed, kept in the database.

A data message has the aliases of its metrics instead of their names, and no data types; the last
birth certificate of its edge node or device says both. A batch writes the certificates that it
brings in its transaction, so that a restart and the next ingester know them.

What a message means depends on what came before it. A batch that fails is parsed again, so each of
its messages keeps the certificate that it was read by; and a delivery that was read by one is
recorded (`ingest.redelivery`), because its redelivery may come after the next certificate.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

import queries.certificates
from broker.message import Message
from ingest.formats.sparkplug import NO_CERTIFICATE, Certificate
from ingest.values import PayloadError
from models import MAX_NODE
from utils.identity import device_id_fault

MAX_METRICS = 500_000
"""Metrics of all certificates; each of these counts as `OVERHEAD` more."""
OVERHEAD = 10
_TOPIC = re.compile(
    r"(?P<node>(?:.+/)?spBv1\.0/(?P<group>[^/]+))"
    r"/(?P<type>[ND](?:BIRTH|DATA))/(?P<name>[^/]+)(?:/(?P<device>[^/]+))?"
)
_ENCODED = msgspec.json.Decoder(Certificate)


class SparkplugSender(NamedTuple):
    """The edge node or device that sends a message, as the topic says."""

    node: str
    """The edge node with its namespace and group, such as `spBv1.0/plant/edge1`."""
    device: str
    """Empty for the edge node itself."""
    is_birth: bool

    @classmethod
    def of(cls, topic: str) -> "SparkplugSender | None":
        """Return the sender of births or data on a topic; None if it can have no certificate."""
        found = _TOPIC.fullmatch(topic)
        if found is None:
            return None
        device = found["device"] or ""
        is_of_device = found["type"].startswith("D")
        names = [found["group"], found["name"], *([device] if is_of_device else [])]
        if bool(device) is not is_of_device or any(map(device_id_fault, names)):
            return None
        node = f"{found['node']}/{found['name']}"
        return cls(node, device, found["type"].endswith("BIRTH")) if len(node) <= MAX_NODE else None


class _Birth(NamedTuple):
    message: Message
    sender: SparkplugSender
    certificate: Certificate


OfNode = dict[str, Certificate]
"""The certificates of an edge node and its devices, by device; its own has an empty name."""


class Certificates:
    """The last birth certificates of all edge nodes and their devices.

    If `is_kept` is false, what is learned stays in memory: it comes from an old session.
    """

    def __init__(self, *, is_needed: bool = True, is_kept: bool = True) -> None:
        self._is_needed = is_needed
        self.is_read = not is_needed
        """Whether it knows what the database has, or no stream needs it."""
        self._is_kept = is_kept
        self._known: dict[str, OfNode] = {}
        self._size = self._size_ahead = 0
        # Of the batch: what it brought, the nodes as they are then, and by what it was read.
        self._births: list[_Birth] = []
        self._ahead: dict[str, OfNode] = {}
        self._used: dict[int, tuple[Message, Certificate]] = {}

    def read(self, connection: Connection) -> None:
        """Read the certificates from the database, within a transaction, if they are needed."""
        if not self._is_needed:
            return
        self._known, self._ahead, self._size = {}, {}, 0
        self._births, self._used = [], {}
        for row in queries.certificates.certificates(connection):
            certificate = _ENCODED.decode(row.metrics)
            self._known.setdefault(row.node, {})[row.device] = certificate
            self._size += _size(certificate)
        self._size_ahead = self._size
        self.is_read = True

    def begin(self, messages: Sequence[Message]) -> None:
        """Forget what an earlier batch brought that was not committed.

        Of that batch only messages that come again keep what they were read by.
        """
        if self._used:
            used = [self._used[id(one)] for one in messages if id(one) in self._used]
            self._used = {id(message): (message, certificate) for message, certificate in used}
        self._births, self._ahead, self._size_ahead = [], {}, self._size

    def of(self, sender: SparkplugSender | None, message: Message) -> Certificate:
        """Return the certificate by which a message is to be read, if there is one."""
        if sender is None:
            return NO_CERTIFICATE
        if id(message) not in self._used:
            of_node = self._of_node(sender.node)
            self._used[id(message)] = (message, of_node.get(sender.device, NO_CERTIFICATE))
        return self._used[id(message)][1]

    def learn(self, sender: SparkplugSender, message: Message, certificate: Certificate) -> None:
        """Learn the certificate of a sender. Raises PayloadError if there are too many.

        Then the sender has none, because its aliases may have changed. A retained message may be
        old, so it counts only if there is none.
        """
        if message.retained and sender.device in self._of_node(sender.node):
            return
        before = self._of_node(sender.node)
        birth = _Birth(message, sender, certificate)
        is_too_much = self._size_ahead + _growth(before, birth) > MAX_METRICS
        if is_too_much:
            birth = birth._replace(certificate=NO_CERTIFICATE)
        self._births.append(birth)
        self._ahead[sender.node] = _after(before, birth)
        self._size_ahead += _growth(before, birth)
        if is_too_much:
            text = f"the birth certificates have more than {MAX_METRICS} metrics together"
            raise PayloadError("too_many_births", text, names_field=False)

    def write(self, connection: Connection, messages: Sequence[Message]) -> list[Message]:
        """Write the certificates that messages brought, within their transaction.

        Return the messages whose redelivery might be read by another certificate.
        """
        if self._is_kept and (births := self._births_of(messages)):
            _replace(connection, births, self._known)
        if not self._used:
            return []
        of_batch = [self._used[id(one)] for one in messages if id(one) in self._used]
        return [message for message, certificate in of_batch if certificate.types]

    def committed(self, messages: Sequence[Message]) -> None:
        """Remember the certificates of these messages: they are committed."""
        births = self._births_of(messages)
        for birth in births:
            node = birth.sender.node
            before = self._known.get(node, {})
            self._known[node] = _after(before, birth)
            self._size += _growth(before, birth)
        done = set(map(id, births))
        self._births = [birth for birth in self._births if id(birth) not in done]

    def _births_of(self, messages: Iterable[Message]) -> list[_Birth]:
        if not self._births:
            return []
        wanted = {id(message) for message in messages}
        return [birth for birth in self._births if id(birth.message) in wanted]

    def _of_node(self, node: str) -> OfNode:
        found = self._ahead.get(node)
        return self._known.get(node, {}) if found is None else found


def _ends_devices(birth: _Birth) -> bool:
    """Return whether a birth of a node ends the certificates of its devices, as births do.

    A retained one does not: it may be older than theirs.
    """
    return not birth.sender.device and not birth.message.retained


def _after(before: OfNode, birth: _Birth) -> OfNode:
    """Return the certificates of a node after a birth."""
    device = birth.sender.device
    kept = {} if _ends_devices(birth) else before
    others = {name: certificate for name, certificate in kept.items() if name != device}
    return others | ({device: birth.certificate} if birth.certificate.types else {})


def _growth(before: OfNode, birth: _Birth) -> int:
    """Return how much larger the certificates of a node are after a birth."""
    device = birth.sender.device
    ended = list(before) if _ends_devices(birth) else [device]
    removed = sum(_size(before[name]) for name in ended if name in before)
    return _size(birth.certificate) - removed


def _replace(connection: Connection, births: Sequence[_Birth], known: Mapping[str, OfNode]) -> None:
    """Write births in the order of their arrival."""
    after: dict[str, OfNode] = {}
    for birth in births:
        node = birth.sender.node
        after[node] = _after(after.get(node, known.get(node, {})), birth)
    ended = {birth.sender.node for birth in births if _ends_devices(birth)}
    written: dict[queries.certificates.Key, bytes | None] = {}
    for node, device, _ in [birth.sender for birth in births]:
        certificate = after[node].get(device)
        written[node, device] = None if certificate is None else msgspec.json.encode(certificate)
    queries.certificates.replace(connection, ended, written)


def _size(certificate: Certificate) -> int:
    return OVERHEAD + len(certificate.types) if certificate.types else 0
