"""A broker of which the test sends and reads each packet: the part of MQTT 3.1.1 that a subscriber needs."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
SECONDS = 20


class Packet(NamedTuple):
    """One packet that a client sent."""

    kind: int
    body: bytes

    @property
    def packet_id(self) -> int:
        """The id that the body begins with."""
        return int(struct.unpack("!H", self.body[:2])[0])


class Peer:
    """One connection of a client."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._socket.settimeout(SECONDS)

    def expect(self, kind: int) -> Packet:
        """Read the next packet, which must be of this kind."""
        packet = self.read()
        assert packet.kind == kind, packet
        return packet

    def read(self) -> Packet:
        """Read the next packet."""
        first, length, shift = self._exactly(1)[0], 0, 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return Packet(first >> 4, self._exactly(length))

    def send(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Send a packet of at most 127 bytes."""
        self._socket.sendall(bytes([kind << 4 | flags, len(body)]) + body)

    def welcome(self, session_present: bool) -> tuple[Packet, Packet]:
        """Let a subscriber connect and subscribe; its CONNECT and its SUBSCRIBE."""
        connect = self.expect(CONNECT)
        self.send(CONNACK, bytes([session_present, 0]))
        subscribe = self.expect(SUBSCRIBE)
        self.send(SUBACK, subscribe.body[:2] + b"\1")
        return connect, subscribe

    def publish(self, packet_id: int, payload: bytes, again: bool = False) -> None:
        """Send a message on the topic `t/1` at QoS 1."""
        self.send(
            PUBLISH, b"\0\3t/1" + struct.pack("!H", packet_id) + payload, flags=10 if again else 2
        )

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._socket.recv(length - len(data))
            assert more, "the client has ended the connection"
            data += more
        return data


class ScriptedBroker:
    """Where clients connect to."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._peers: list[Peer] = []
        self.port = int(listening.getsockname()[1])

    def accept(self) -> Peer:
        """Wait for the next connection."""
        self._peers.append(Peer(self._listening.accept()[0]))
        return self._peers[-1]

    def close(self) -> None:
        """End all connections."""
        for peer in self._peers:
            peer.close()


@contextmanager
def scripted_broker() -> Iterator[ScriptedBroker]:
    """A broker on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        broker = ScriptedBroker(listening)
        try:
            yield broker
        finally:
            broker.close()
