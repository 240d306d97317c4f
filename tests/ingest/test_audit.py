"""The audit trail: one row for every message that came in, good or bad."""

import csv
import errno
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import Connection

import queries.ingest_status
from broker.message import Message
from config import Settings
from database import Database
from ingest.audit import COLUMNS, HEADER, AuditTrail
from ingest.outcome import Outcome
from streams import declaration
from streams.registry import Streams
from tests.api import Api, reading, running
from tests.live import at_broker, serving
from tests.pipelines import new_pipeline
from tests.processes import gunicorn
from tests.rows import forbid_666
from tests.support import Mosquitto, ignore, payload, publishing, wait_for
from utils import clock
from utils.logger import MEGABYTE, Rotation

TOPIC = "sensors/ESP32_001/data"
FILE = Path("audit.csv")
Handle = Callable[..., list[dict[str, str]]]


def rows(file: Path = FILE) -> list[dict[str, str]]:
    """The rows of a file, as a program reads them; each must be one line with every column."""
    with file.open(newline="", encoding="utf-8") as opened:
        read = list(csv.DictReader(opened, strict=True))
    assert len(file.read_bytes().splitlines()) == len(read) + 1
    assert all(tuple(row) == COLUMNS and None not in row.values() for row in read)
    return read


def shown(row: dict[str, str], *columns: str) -> tuple[str, ...]:
    return tuple(row[column] for column in columns)


def message(
    said: str | bytes, topic: str = TOPIC, packet_id: int = 0, dup: bool = False
) -> Message:
    return Message(
        topic, said.encode() if isinstance(said, str) else said, clock.now(), packet_id, dup
    )


@pytest.fixture
def streams(settings: Callable[..., Settings]) -> Streams:
    return declaration.declared(settings())


@pytest.fixture
def connection(sqlite: Database) -> Iterator[Connection]:
    with sqlite.write() as made:
        yield made


@pytest.fixture
def handle(
    settings: Callable[..., Settings], sqlite: Database, streams: Streams, connection: Connection
) -> Handle:
    """Handle messages as one batch that came by MQTT, and read the file if there is one."""
    trail = AuditTrail(settings(audit_csv=FILE), streams)
    pipeline = new_pipeline(sqlite, streams, "mqtt", ignore, trail.recorder("mqtt"))

    def batch(*messages: Message) -> list[dict[str, str]]:
        pipeline.handle(connection, messages)
        return rows() if FILE.is_file() else []

    return batch


@pytest.fixture
def audited(settings: Callable[..., Settings]) -> Iterator[Api]:
    with running(settings(audit_csv=FILE)) as api:
        yield api


def test_a_reading_is_a_row_with_all_that_is_known_of_it(handle: Handle) -> None:
    said = message(payload(), packet_id=7)
    assert handle(said) == [
        {
            "received_at": clock.rfc3339(said.received_at),
            "source": "mqtt",
            "topic": TOPIC,
            "stream": "sensors",
            "device_id": "ESP32_001",
            "timestamp": "2026-01-29T14:30:45.123456Z",
            "outcome": "accepted",
            "reason": "",
            "payload": payload(),
        }
    ]


def test_what_cannot_be_read_is_rejected_with_its_reason(handle: Handle) -> None:
    batch = [
        message(payload(gas=None)),
        message("x"),
        message("1", "nobody/knows"),
        message("{}", "panel/p 1/volt"),
    ]
    assert [shown(row, "stream", "device_id", "outcome", "reason") for row in handle(*batch)] == [
        ("sensors", "ESP32_001", "rejected", "missing_field"),
        ("sensors", "ESP32_001", "rejected", "invalid_json"),
        ("", "", "rejected", "unknown_topic"),
        ("panels", "p 1", "rejected", "missing_field"),
    ]


def test_what_the_database_refuses_is_rejected_and_its_neighbours_are_accepted(
    sqlite: Database, handle: Handle
) -> None:
    forbid_666(sqlite)
    written = handle(*(message(payload(temperature=degrees)) for degrees in (1, 666, 2)))
    assert [shown(row, "outcome", "reason", "timestamp") for row in written] == [
        ("accepted", "", "2026-01-29T14:30:45.123456Z"),
        ("rejected", "refused_by_database", "2026-01-29T14:30:45.123456Z"),
        ("accepted", "", "2026-01-29T14:30:45.123456Z"),
    ]


def test_a_duplicate_that_its_key_absorbs_is_accepted(handle: Handle) -> None:
    handle(message(payload(), packet_id=7))
    assert [row["outcome"] for row in handle(message(payload(), packet_id=7, dup=True))] == [
        "accepted",
        "accepted",
    ]


def test_a_redelivery_that_no_key_absorbs_is_repeated_and_stands_where_it_came(
    handle: Handle,
) -> None:
    volts = "panel/trafo1/volt"
    handle(message("230", volts, 7))
    batch = [message("231", volts, 8), message("230", volts, 7, dup=True), message("232", volts, 9)]
    written = handle(*batch)[1:]
    assert [shown(row, "payload", "outcome") for row in written] == [
        ("231", "accepted"),
        ("230", "repeated"),
        ("232", "accepted"),
    ]
    assert shown(written[1], "stream", "device_id", "timestamp", "reason") == (
        "panels",
        "trafo1",
        "",
        "",
    )


def test_acknowledgements_and_presence_are_messages_too(handle: Handle) -> None:
    ack = '{"command_id": "unheard", "status": "succeeded"}'
    written = handle(message("online", "status/ESP32_001"), message(ack, "control/ESP32_001/ack"))
    assert [shown(row, "stream", "device_id", "outcome", "reason") for row in written] == [
        ("", "ESP32_001", "accepted", ""),
        ("", "ESP32_001", "rejected", "unknown_command"),
    ]


@pytest.mark.database
def test_readings_over_http_are_rows_of_the_same_file(audited: Api) -> None:
    audited.judge(
        "/api/sensors/readings", [reading(second=1), reading(gas="none"), reading(second=1)]
    )
    audited.post("/api/panels/readings", 231.5, device_id="trafo1", metric="voltage")
    columns = ("source", "topic", "stream", "device_id", "outcome", "reason")
    assert [shown(row, *columns) for row in rows()] == [
        ("http", "sensors//data", "sensors", "ESP32_001", "accepted", ""),
        ("http", "sensors//data", "sensors", "", "rejected", "not_a_number"),
        ("http", "sensors//data", "sensors", "ESP32_001", "accepted", ""),
        ("http", "panel/trafo1/volt", "panels", "trafo1", "accepted", ""),
    ]


def test_without_audit_csv_nothing_is_written(sqlite_api: Api) -> None:
    sqlite_api.submit(reading())
    assert not list(Path().glob("*.csv*"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        (b"+1+2", "'+1+2"),
        (b"-2+cmd|' /C calc'!A0", "'-2+cmd|' /C calc'!A0"),
        (b"@SUM(1)", "'@SUM(1)"),
        (b"\t=1", "'\\u0009=1"),
        (b"\r=1", "'\\u000d=1"),
        (b"-5.2", "-5.2"),
        (b"+1.5e-3", "+1.5e-3"),
        (b"-5.2\n", "'-5.2\\u000a"),
        (b'{"a":\n\r\n"b, c"}', '{"a":\\u000a\\u000d\\u000a"b, c"}'),
        ("21 °C".encode(), "21 °C"),
        (b"\xff\x00\xfe", "\\xff\\u0000\\xfe"),
        ("a\u2028b\u0085c".encode(), "a\\u2028b\\u0085c"),
        (b"", ""),
        (b"x" * 4_096, "x" * 4_096),
        (b"x" * 5_000, "x" * 4_096 + "…"),
    ],
    ids=lambda value: ascii(value[:40]),
)
def test_a_payload_is_one_harmless_cell_on_one_line(
    handle: Handle, said: bytes, expected: str
) -> None:
    assert [row["payload"] for row in handle(message(said))] == [expected]


def test_topic_and_device_are_harmless_cells_too(handle: Handle) -> None:
    assert shown(handle(message(payload(), "sensors/=1+1/data"))[0], "topic", "device_id") == (
        "sensors/=1+1/data",
        "'=1+1",
    )
    assert handle(message("1", "=1\n+1"))[1]["topic"] == "'=1\\u000a+1"


def test_a_file_that_is_full_makes_room_and_each_file_has_the_header(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.audit.MEGABYTE", 100)
    for number in range(30):
        handle(message(payload(temperature=number)))
    files = [FILE, *(Path(f"audit.csv.{number}") for number in range(1, 6))]
    assert sorted(Path().glob("audit*")) == sorted(files)
    assert all(file.stat().st_size <= 1_000 for file in files)
    kept = [row["payload"] for file in reversed(files) for row in rows(file)]
    assert kept == [payload(temperature=number) for number in range(30 - len(kept), 30)]


def test_a_batch_is_one_write(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr("ingest.audit.append", lambda _, __, lines, ___: written.append(lines))
    FILE.write_bytes(HEADER)
    handle(*(message(payload(temperature=number)) for number in range(100)))
    assert [lines.count(b"\n") for lines in written] == [100]


def test_a_file_that_cannot_be_written_stops_nothing_and_is_said_once(
    handle: Handle, sqlite: Database, caplog: pytest.LogCaptureFixture
) -> None:
    FILE.mkdir()
    for number in range(3):
        handle(message(payload(temperature=number)))
    with sqlite.read() as reader:
        assert queries.ingest_status.ingest_status(reader)["mqtt"].stored == 3
    (line,) = caplog.messages
    assert line.startswith("AUDIT_CSV=audit.csv: cannot be written: ")
    assert line.endswith("1 rows are missing from the audit trail so far")


class FullDisk:
    """A file on a disk that takes only some more bytes."""

    def __init__(self, real: Any, room: int) -> None:
        self._real = real
        self._room = room

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, data: Any) -> int:
        if not self._room:
            self._refuse()
        written: int = self._real.write(data[: self._room])
        self._room -= written
        return written

    @staticmethod
    def _refuse() -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_no_half_row(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = handle(message(payload(temperature=1)))
    really = Path.open

    def full(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        opened = really(path, mode, *arguments, **named)
        return FullDisk(opened, 10) if mode == "ab" else opened

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        assert handle(message(payload(temperature=2))) == before
    assert "No space left on device" in caplog.text
    assert [row["payload"] for row in handle(message(payload(temperature=3)))] == [
        payload(temperature=1),
        payload(temperature=3),
    ]


def test_what_a_killed_process_left_of_a_row_spoils_no_other(handle: Handle) -> None:
    handle(message(payload(temperature=1)))
    torn = FILE.read_bytes()[:-5]
    FILE.write_bytes(torn)
    assert [row["payload"] for row in handle(message(payload(temperature=2)))] == [
        payload(temperature=2)
    ]
    assert Path("audit.csv.1").read_bytes() == torn


@pytest.mark.process
def test_what_is_acknowledged_is_in_the_file_after_a_kill(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    file = tmp_path / "trail" / "audit.csv"
    with serving(at_broker(tmp_path / "backend", mosquitto, AUDIT_CSV=str(file))) as backend:
        wait_for(backend.ready)
        with publishing(mosquitto.port) as publish:
            for number in range(50):
                publish(TOPIC, payload(temperature=number))
        wait_for(lambda: backend.get("/api/sensors/stats")[1]["stats"]["count"] == 50)
        # The next batch is taken only when this one is acknowledged, thus recorded.
        with publishing(mosquitto.port) as publish:
            publish("status/ESP32_001", "online")
        wait_for(lambda: backend.get("/api/sensors/devices")[1]["devices"][0]["online"])
        backend.stop(signal.SIGKILL)
    assert {row["payload"] for row in rows(file)} >= {
        payload(temperature=number) for number in range(50)
    }


@pytest.mark.process
def test_each_worker_writes_a_file_of_its_own(tmp_path: Path, mosquitto: Mosquitto) -> None:
    backend = gunicorn(
        tmp_path,
        mosquitto,
        "-w 2 -b 127.0.0.1:{port} app:app",
        AUDIT_CSV=str(tmp_path / "audit.csv"),
    )
    with serving(backend):
        wait_for(backend.ready)
        with publishing(mosquitto.port) as publish:
            publish(TOPIC, payload())
        for second in range(20):
            assert backend.post("/api/sensors/readings", reading(second=second))[0] == 201
        wait_for(lambda: backend.get("/api/sensors/stats")[1]["stats"]["count"] == 21)
    files = sorted(file.name for file in tmp_path.glob("audit*"))
    assert files
    assert set(files) <= {"audit.worker-1.csv", "audit.worker-2.csv"}
    written = [row["source"] for file in files for row in rows(tmp_path / file)]
    assert sorted(written) == ["http"] * 20 + ["mqtt"]


def test_the_times_are_those_of_receiving(handle: Handle) -> None:
    said = [message(payload(temperature=number)) for number in range(2)]
    said[1].received_at += timedelta(seconds=1)
    assert [row["received_at"] for row in handle(*said)] == [
        clock.rfc3339(item.received_at) for item in said
    ]


def test_settings_say_when_the_trail_is_rotated_and_how_many_old_files_are_kept(
    settings: Callable[..., Settings], streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Rotation] = []
    monkeypatch.setattr("ingest.audit.append", lambda _, __, ___, rotation: seen.append(rotation))
    for names in ({}, {"audit_csv_mb": 100, "audit_csv_count": 30}):
        record = AuditTrail(settings(audit_csv=FILE, **names), streams).recorder("http")
        assert record is not None
        record(Outcome())
    assert [one[:2] for one in seen] == [(10 * MEGABYTE, 5), (100 * MEGABYTE, 30)]
    assert all(one.mark.search(HEADER) for one in seen)
