"""The MQTT load generator: `python -m benchmarks.load`.

It publishes pre-encoded QoS 1 packets over a plain socket. It must be faster than the ingester,
which no MQTT client written in Python is; it is the only module here that encodes MQTT by hand.
"""

import argparse
import json
import random
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

MAX_WINDOW = 10_000
"""Packets in flight: their ids must differ, and their PUBACKs must fit into the socket's buffer."""
CHUNK = 100
TOPIC = "sensors/{device_id}/data"
PREPARED = 100_000
"""Packets that are encoded before they are sent."""
_PACKET_IDS = 65_535
_PUBACK = b"\x40\x02"


def connect(port: int, client_id: str = "") -> socket.socket:
    """Open a clean MQTT 3.1.1 session at the broker on loopback. Raises ConnectionError."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The keep-alive is 600 s and no ping is ever sent; the embedded broker refuses 0.
    body = b"\x00\x04MQTT\x04\x02\x02\x58" + _text(client_id.encode())
    connection.sendall(b"\x10" + _length(len(body)) + body)
    connack = connection.recv(4, socket.MSG_WAITALL)
    if connack[:2] != b"\x20\x02" or connack[3] != 0:
        connection.close()
        raise ConnectionError(f"the broker answered {connack!r} to CONNECT")
    return connection


def publish_packet(topic: str, payload: bytes, number: int) -> bytes:
    """Return a PUBLISH at QoS 1; `number` counts up and determines the packet id."""
    packet_id = number % _PACKET_IDS + 1
    body = _text(topic.encode()) + packet_id.to_bytes(2, "big") + payload
    return b"\x32" + _length(len(body)) + body


def reading(chance: random.Random, timestamp: datetime) -> bytes:
    """Return a payload of the stream `sensors` as a device would send it."""
    values = {
        "temperature": round(chance.gauss(24, 2), 1),
        "vibration": round(abs(chance.gauss(12, 2)), 1),
        "gas": round(abs(chance.gauss(450, 60)), 1),
        "power": round(abs(chance.gauss(250, 50)), 1),
        "timestamp": timestamp.isoformat(timespec="microseconds"),
    }
    return json.dumps(values).encode()


def device(number: int) -> str:
    """Return the id of the device with this number."""
    return f"bench-{number:03d}"


def readings(count: int, devices: int, topic: str = TOPIC) -> Iterator[tuple[str, bytes]]:
    """Yield topic and payload of `count` messages, from each device in turn.

    Their timestamps differ by 1 ms, and none is in the future.
    """
    chance = random.Random(1)
    first = datetime.now(UTC).replace(tzinfo=None) - timedelta(milliseconds=count)
    for number in range(count):
        payload = reading(chance, first + timedelta(milliseconds=number))
        yield topic.format(device_id=device(number % devices)), payload


def publish(
    connection: socket.socket,
    count: int,
    devices: int,
    window: int = MAX_WINDOW,
    topic: str = TOPIC,
) -> float:
    """Publish `count` messages; return the seconds until all were acknowledged.

    The time of the encoding is not included.
    """
    messages = readings(count, devices, topic)
    seconds = 0.0
    for start in range(0, count, PREPARED):
        numbers = range(start, min(start + PREPARED, count))
        packets = [publish_packet(*next(messages), number) for number in numbers]
        started = time.perf_counter()
        _exchange(connection, packets, window)
        seconds += time.perf_counter() - started
    return seconds


def publish_paced(
    connection: socket.socket,
    count: int,
    devices: int,
    rate: float,
    topic: str = TOPIC,
) -> float:
    """Publish `rate` messages a second, each with its sending time; return the seconds it took."""
    chance = random.Random(1)
    started = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        payload = reading(chance, datetime.now(UTC).replace(tzinfo=None))
        own_topic = topic.format(device_id=device(number % devices))
        connection.sendall(publish_packet(own_topic, payload, number))
    received = 0
    while received < 4 * count:
        received += len(connection.recv(65_536))
    return time.perf_counter() - started


def _exchange(connection: socket.socket, packets: list[bytes], window: int) -> None:
    starts = range(0, len(packets), CHUNK)
    chunks = [b"".join(packets[start : start + CHUNK]) for start in starts]
    sent = acknowledged = 0
    rest = b""
    while acknowledged < len(packets):
        while sent * CHUNK < len(packets) and sent * CHUNK - acknowledged <= window - CHUNK:
            connection.sendall(chunks[sent])
            sent += 1
        received = connection.recv(65_536)
        if not received:
            raise ConnectionError("the broker closed the connection")
        answers, rest = _whole(rest + received)
        if answers.count(_PUBACK) < len(answers) // 4:
            raise ConnectionError("the broker sent something other than acknowledgements")
        acknowledged += len(answers) // 4


def _whole(answers: bytes) -> tuple[bytes, bytes]:
    complete = len(answers) // 4 * 4
    return answers[:complete], answers[complete:]


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _length(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, low = divmod(number, 128)
        encoded.append(low | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def main() -> None:
    """Publish and print the number of messages and the seconds as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--window", type=int, default=MAX_WINDOW)
    parser.add_argument("--rate", type=float, help="messages a second; default: at full speed")
    parser.add_argument("--topic", default=TOPIC)
    options = parser.parse_args()
    count, devices, topic = options.messages, options.devices, options.topic
    with connect(options.port) as connection:
        if options.rate is None:
            seconds = publish(connection, count, devices, options.window, topic)
        else:
            seconds = publish_paced(connection, count, devices, options.rate, topic)
    print(json.dumps({"acknowledged": count, "seconds": seconds}))


if __name__ == "__main__":
    main()
