"""The benchmarks in a short form: they measure what they claim to. No durations are judged."""

import contextlib
import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks import (
    broker,
    commands,
    compare,
    live_clients,
    load,
    rest_client,
    socket_clients,
    storage,
    websocket,
)
from benchmarks.ingest_rate import drain
from benchmarks.processes import answer, free_port, healthy, python, running, settings
from benchmarks.report import BenchReport, ReportLine
from benchmarks.socket_clients import CrowdResult, NewestByDevice
from tests.support import PROJECT, connected_client, wait_for


@pytest.mark.process
def test_a_real_broker_delivers_each_generated_packet_exactly_once(fast_broker: int) -> None:
    received: list[tuple[str, bytes]] = []
    client = connected_client(fast_broker)
    subscribed: list[int] = []
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.on_message = lambda _, __, message: received.append(
        (message.topic, bytes(message.payload))
    )
    client.subscribe(broker.TOPIC, 1)
    wait_for(lambda: subscribed, what="the subscription")
    with load.connect(fast_broker) as connection:
        assert load.publish(connection, 1_000, devices=100, window=300) > 0
    wait_for(lambda: len(received) >= 1_000, what="the messages")
    client.disconnect()
    client.loop_stop()
    assert len(received) == len(set(received)) == 1_000
    assert len({topic for topic, _ in received}) == 100
    keys = {"temperature", "vibration", "gas", "power", "timestamp"}
    assert set(json.loads(received[0][1])) == keys


@pytest.mark.process
def test_the_generator_as_a_process_reports_what_was_acknowledged(fast_broker: int) -> None:
    for pace in ([], ["--rate", "2000"]):
        options = ("--port", fast_broker, "--messages", 250, *pace)
        command = python("benchmarks.load", *options)
        ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        assert json.loads(ended.stdout)["acknowledged"] == 250


def test_packet_ids_and_lengths_are_those_of_mqtt() -> None:
    assert load.publish_packet("a", b"x", 0) == b"\x32\x06\x00\x01a\x00\x01x"
    assert load.publish_packet("a", b"x", 65_534)[5:7] == b"\xff\xff"
    assert load.publish_packet("a", b"x", 65_535)[5:7] == b"\x00\x01"
    assert load.publish_packet("a", b"x" * 200, 0)[:3] == b"\x32\xcd\x01"


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.process
@pytest.mark.parametrize("side", ["ingest", "ingest-silent", "plain"])
def test_the_ingest_measurement_counts_every_message(side: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bench.db"
    drained = drain(tmp_path, url, side, 2_000)
    assert drained.rows == (0 if side == "plain" else 2_000)
    assert drained.rate > 0
    assert drained.cpu_seconds > 0


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("side", ["ingest", "ingest-silent"])
def test_only_the_ingest_with_live_push_sends_change_notifications(
    side: str, tmp_path: Path
) -> None:
    payloads: list[bytes] = []
    with broker.fitting(tmp_path / "broker") as port:
        broker.register_session(port)
        with load.connect(port) as connection:
            load.publish(connection, 500, devices=10)
        client = connected_client(port)
        subscribed: list[int] = []
        client.on_subscribe = lambda *_: subscribed.append(1)
        client.on_message = lambda _, __, message: payloads.append(bytes(message.payload))
        client.subscribe("autoforge/+/notices", 1)
        wait_for(lambda: subscribed, what="the subscription")
        url = f"sqlite:///{tmp_path}/bench.db"
        environment = settings(tmp_path, url, port, MQTT_CLIENT_ID=broker.CLIENT_ID)
        with running(python("benchmarks.subscribers", side, 500), tmp_path, environment) as process:
            assert answer(process)["received"] == 500
        client.publish("autoforge/end/notices", b"end", qos=1)
        wait_for(lambda: b"end" in payloads, what="the end")
        client.disconnect()
        client.loop_stop()
    assert any(b"sensors" in payload for payload in payloads) == (side == "ingest")


@pytest.mark.broker
def test_a_command_that_does_not_succeed_fails_the_measurement() -> None:
    answers = {
        "succeeded": (200, {"status": "succeeded", "result": {"pong": True}}),
        "late": (202, {"status": "sent", "result": None}),
        "rejected": (200, {"status": "rejected", "result": None}),
    }
    for name, (status, body) in answers.items():
        with _http_server(status, json.dumps(body).encode()) as port:
            if name == "succeeded":
                assert len(list(commands.over_http(port, 2))) == 2
            else:
                with pytest.raises(RuntimeError, match="ping number 1 was answered"):
                    list(commands.over_http(port, 1))


@contextlib.contextmanager
def _http_server(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.process
def test_a_crowd_of_socket_clients_holds_the_newest_stored_readings(
    fast_broker: int, tmp_path: Path
) -> None:
    port, url = free_port(), f"sqlite:///{tmp_path}/bench.db"
    environment = settings(tmp_path, url, fast_broker, FLASK_PORT=str(port))
    with running([sys.executable, str(PROJECT / "app.py")], tmp_path, environment):
        wait_for(lambda: healthy(port), 30, what="the backend")
        with socket_clients.crowd(tmp_path, port, clients=60) as process:
            with load.connect(fast_broker) as connection:
                load.publish_paced(connection, 40, devices=4, rate=20)
            time.sleep(3)
            result = socket_clients.finish(process)
    newest = storage.newest_of_each(url, "sensor_readings")
    assert (result.connected, result.count_holding(newest)) == (60, 60)
    assert 60 * 4 <= result.events <= 60 * 40
    assert 2 * 4 <= len(result.ages) <= 2 * 40
    assert 0 < min(result.ages) < max(result.ages) < 20_000


@pytest.mark.broker
@pytest.mark.process
def test_a_crowd_that_cannot_connect_fails_the_measurement(tmp_path: Path) -> None:
    refused = pytest.raises(RuntimeError, match="not all of 2")
    with refused, socket_clients.crowd(tmp_path, free_port(), clients=2):
        pass


def test_a_client_counts_only_if_it_holds_the_newest_of_every_device() -> None:
    newest: NewestByDevice = {"a": "2026-01-01T00:00:02Z", "b": "2026-01-01T00:00:01Z"}
    older = {**newest, "a": "2026-01-01T00:00:01Z"}
    result = CrowdResult(9, 100, [(5, newest), (3, older), (1, {})], [], 0.1)
    assert result.count_holding(newest) == 5
    assert result.count_holding({**newest, "c": "2026-01-01T00:00:01Z"}) == 0


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65_535, 65_536])
def test_websocket_frames_are_read_once_they_are_complete(size: int) -> None:
    if size < 126:
        head = struct.pack("!BB", 0x81, size)
    elif size <= 65_535:
        head = struct.pack("!BBH", 0x81, 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 127, size)
    whole = head + b"x" * size
    assert list(websocket.frames(whole)) == [(1, len(head), len(whole))]
    for length in {0, 1, len(head) - 1, len(whole) - 1}:
        assert not list(websocket.frames(whole[:length]))
    twice = list(websocket.frames(whole + whole))
    assert twice == [(1, len(head), len(whole)), (1, len(whole) + len(head), 2 * len(whole))]


def test_the_live_process_is_measured_as_it_is_shipped() -> None:
    unit = (PROJECT / "deploy" / "autoforge-live.service").read_text(encoding="utf-8")
    command = live_clients.server(unit, 5_555)
    assert command[:3] == [sys.executable, "-m", "gunicorn"]
    assert "127.0.0.1:5555" in command
    assert command[-1] == "app:live"


def test_a_rate_does_not_count_the_batch_whose_end_is_unknown() -> None:
    start = datetime(2026, 1, 1)
    written = [storage.StorageBatch(start + timedelta(seconds=second), 10) for second in (0, 1, 4)]
    assert storage.rate(written) == 5.0
    with pytest.raises(RuntimeError, match="1 batches are too few to compute a rate"):
        storage.rate(written[:1])


@pytest.mark.database
def test_it_fills_a_table(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bench.db"
    storage.fill(url, 500, devices=10)
    assert storage.rows_stored(url) == 500
    assert storage.messages_received(url) == 0
    assert storage.newest_id(url, "sensor_readings") == 500
    assert sum(batch.rows for batch in storage.batches(url, "sensor_readings", after=100)) == 400
    assert len(storage.newest_of_each(url, "sensor_readings")) == 10


def test_an_http_answer_is_complete_with_its_last_byte_and_only_a_200_counts() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"
    assert rest_client.complete(answer)
    assert not any(rest_client.complete(answer[:length]) for length in range(len(answer)))
    with pytest.raises(ConnectionError):
        rest_client.complete(b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n")


def test_the_report_is_a_table_and_a_json_file(tmp_path: Path) -> None:
    report = BenchReport(quick=True, machine={})
    line = ReportLine("ingest", 20_000, "messages/s", 10_000, 2.0, "≥ 1", reached=True)
    line.note = "as shipped"
    report.lines.append(line)
    report.left_out.append("PostgreSQL")
    report.save(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["lines"][0]["ratio"] == 2.0
    table = report.table()
    for word in (
        "20,000 messages/s",
        "10,000",
        "2.00",
        "≥ 1",
        "yes",
        "ingest: as shipped",
        "Left out: PostgreSQL",
    ):
        assert word in table


@pytest.mark.parametrize(
    ("unit", "before", "after", "reached"),
    [
        ("messages/s", 100.0, 100.0, True),
        ("messages/s", 100.0, 90.0, False),
        ("ms", 10.0, 11.0, False),
        ("ms", 10.0, 9.0, True),
        ("MB", 100.0, 110.0, False),
    ],
)
def test_a_line_is_compared_by_what_is_better_in_its_unit(
    unit: str, before: float, after: float, reached: bool
) -> None:
    noises = (0.9, 1.0, 1.1, 0.95, 1.05)
    pairs = [compare.Pair(before * noise, after * noise, unit) for noise in noises]
    compared = compare.compare("a line", pairs)
    assert compared.reached == reached
    assert (compared.ratio > 1) == (compare.Pair(before, after, unit).ratio > 1)
    assert "a line" in "\n".join(compare.table("abc", [compared], [1.0]))


def test_a_line_that_only_noise_makes_worse_reaches_what_is_required() -> None:
    pairs = [compare.Pair(100.0, after, "messages/s") for after in (80.0, 95.0, 99.0, 101.0, 120.0)]
    compared = compare.compare("a line", pairs)
    assert compared.low < compared.ratio <= compared.high
    assert compared.reached
