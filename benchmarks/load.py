"""The load generator: `python -m benchmarks.load` publishes pre-encoded QoS 1 packets over a plain socket.

It must outrun the ingest, which no MQTT client written in Python does; it is the only place that speaks MQTT by hand.
"""

import argparse
import json
import random
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_WINDOW = 10_000
"""Unacknowledged packets; their ids must differ, and their acknowledgements fit into the socket's buffer."""
CHUNK = 100
TOPIC = "sensors/{device_id}/data"
PREPARED = 100_000
"""Packets that are encoded ahead of being sent."""
_PACKET_IDS = 65_535
_PUBACK = b"\x40\x02"


def connect(port: int, client_id: str = "") -> socket.socket:
    """A connection to the broker on loopback, with a clean MQTT 3.1.1 session. Raises ConnectionError."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=60)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A keep-alive of 600 s, and never a ping; the embedded broker refuses 0.
    body = b"\x00\x04MQTT\x04\x02\x02\x58" + _text(client_id.encode())
    opened.sendall(b"\x10" + _length(len(body)) + body)
    answer = opened.recv(4, socket.MSG_WAITALL)
    if answer[:2] != b"\x20\x02" or answer[3] != 0:
        opened.close()
        raise ConnectionError(f"the broker answered {answer!r} to CONNECT")
    return opened


def publish_packet(topic: str, payload: bytes, number: int) -> bytes:
    """A PUBLISH at QoS 1; `number` counts up and gives the packet id."""
    packet_id = number % _PACKET_IDS + 1
    body = _text(topic.encode()) + packet_id.to_bytes(2, "big") + payload
    return b"\x32" + _length(len(body)) + body


def reading(chance: random.Random, timestamp: datetime) -> bytes:
    """A payload of the stream `sensors` as a device would write it."""
    values = {
        "temperature": round(chance.gauss(24, 2), 1),
        "vibration": round(abs(chance.gauss(12, 2)), 1),
        "gas": round(abs(chance.gauss(450, 60)), 1),
        "power": round(abs(chance.gauss(250, 50)), 1),
        "timestamp": timestamp.isoformat(timespec="microseconds"),
    }
    return json.dumps(values).encode()


def device(number: int) -> str:
    """The id of a device."""
    return f"bench-{number:03d}"


def readings(count: int, devices: int, topic: str = TOPIC) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of messages in turn from each device, each with a time of its own that is not ahead."""
    chance = random.Random(1)
    first = datetime.now(UTC).replace(tzinfo=None) - timedelta(milliseconds=count)
    for number in range(count):
        payload = reading(chance, first + timedelta(milliseconds=number))
        yield topic.format(device_id=device(number % devices)), payload


def publish(opened: socket.socket, count: int, devices: int, window: int = MAX_WINDOW, topic: str = TOPIC) -> float:
    """Publish so many messages; return the seconds until the last was acknowledged, without the encoding."""
    messages = readings(count, devices, topic)
    seconds = 0.0
    for begin in range(0, count, PREPARED):
        numbers = range(begin, min(begin + PREPARED, count))
        packets = [publish_packet(*next(messages), number) for number in numbers]
        started = time.perf_counter()
        _exchange(opened, packets, window)
        seconds += time.perf_counter() - started
    return seconds


def publish_paced(opened: socket.socket, count: int, devices: int, rate: float, topic: str = TOPIC) -> float:
    """Publish so many messages a second, each with the time at which it is sent; return the seconds it took."""
    chance = random.Random(1)
    started = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        payload = reading(chance, datetime.now(UTC).replace(tzinfo=None))
        opened.sendall(publish_packet(topic.format(device_id=device(number % devices)), payload, number))
    received = 0
    while received < 4 * count:
        received += len(opened.recv(65_536))
    return time.perf_counter() - started


def _exchange(opened: socket.socket, packets: list[bytes], window: int) -> None:
    chunks = [b"".join(packets[begin : begin + CHUNK]) for begin in range(0, len(packets), CHUNK)]
    sent = acknowledged = 0
    rest = b""
    while acknowledged < len(packets):
        while sent * CHUNK < len(packets) and sent * CHUNK - acknowledged <= window - CHUNK:
            opened.sendall(chunks[sent])
            sent += 1
        received = opened.recv(65_536)
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
    """Publish and print what happened as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=main.__doc__)
    for name, default in (("--port", None), ("--messages", None), ("--devices", 100), ("--window", MAX_WINDOW)):
        parser.add_argument(name, type=int, default=default, required=default is None)
    parser.add_argument("--rate", type=float, help="messages a second; as fast as possible if not given")
    parser.add_argument("--topic", default=TOPIC)
    options = parser.parse_args()
    with connect(options.port) as opened:
        if options.rate is None:
            seconds = publish(opened, options.messages, options.devices, options.window, options.topic)
        else:
            seconds = publish_paced(opened, options.messages, options.devices, options.rate, options.topic)
    result: dict[str, Any] = {"acknowledged": options.messages, "seconds": seconds}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
