"""The benchmarks in a short form: what they measure is what they say. No times are judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import broker, load, rest_client, storage
from benchmarks.ingest_rate import drain
from benchmarks.report import Line, Report
from tests.support import PROJECT, connected_client, wait_for


def test_a_real_broker_delivers_each_generated_packet_exactly_once(embedded_broker: int) -> None:
    received: list[tuple[str, bytes]] = []
    client = connected_client(embedded_broker)
    subscribed: list[int] = []
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.on_message = lambda _, __, message: received.append((message.topic, bytes(message.payload)))
    client.subscribe(broker.TOPIC, 1)
    wait_for(lambda: subscribed, what="the subscription")
    with load.connect(embedded_broker) as opened:
        assert load.publish(opened, 1_000, devices=100, window=300) > 0
    wait_for(lambda: len(received) >= 1_000, what="the messages")
    client.disconnect()
    client.loop_stop()
    assert len(received) == len(set(received)) == 1_000
    assert len({topic for topic, _ in received}) == 100
    assert set(json.loads(received[0][1])) == {"temperature", "vibration", "gas", "power", "timestamp"}


def test_the_generator_as_a_process_reports_what_was_acknowledged(embedded_broker: int) -> None:
    for pace in ([], ["--rate", "2000"]):
        command = [sys.executable, "-m", "benchmarks.load", "--port", str(embedded_broker), "--messages", "250", *pace]
        ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        assert json.loads(ended.stdout)["acknowledged"] == 250


def test_packet_ids_and_lengths_are_those_of_mqtt() -> None:
    assert load.publish_packet("a", b"x", 0) == b"\x32\x06\x00\x01a\x00\x01x"
    assert load.publish_packet("a", b"x", 65_534)[5:7] == b"\xff\xff"
    assert load.publish_packet("a", b"x", 65_535)[5:7] == b"\x00\x01"
    assert load.publish_packet("a", b"x" * 200, 0)[:3] == b"\x32\xcd\x01"


@pytest.mark.parametrize("side", ["ingest", "plain"])
def test_the_ingest_measurement_counts_every_message(side: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bench.db"
    drained = drain(tmp_path, url, side, 2_000)
    assert drained.rows == (2_000 if side == "ingest" else 0)
    assert drained.rate > 0


def test_it_fills_a_table(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bench.db"
    storage.fill(url, 500, devices=10)
    assert storage.rows_stored(url) == 500
    assert storage.messages_received(url) == 0


def test_an_http_answer_is_complete_with_its_last_byte_and_only_a_200_counts() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"
    assert rest_client.complete(answer)
    assert not any(rest_client.complete(answer[:length]) for length in range(len(answer)))
    with pytest.raises(ConnectionError):
        rest_client.complete(b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n")


def test_the_report_is_a_table_and_a_json_file(tmp_path: Path) -> None:
    report = Report(quick=True, machine={})
    report.lines.append(Line("ingest", 20_000, "messages/s", 10_000, 2.0, "≥ 1", reached=True, note="as shipped"))
    report.left_out.append("PostgreSQL")
    report.save(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["lines"][0]["ratio"] == 2.0
    table = report.table()
    for word in ("20,000 messages/s", "10,000", "2.00", "≥ 1", "yes", "ingest: as shipped", "Left out: PostgreSQL"):
        assert word in table
