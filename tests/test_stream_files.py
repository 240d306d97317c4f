"""The files of the streams: how they are written, and who is blamed where SENSOR_TOPIC stands for a file's topic."""

import os
from pathlib import Path

import pytest

from config import Settings
from streams.checks import StreamError
from streams.declaration import declared, load
from tests.support import DEVICE_TOPICS

TOPIC = 'topic = "a/{device_id}"\n'
METRIC = "[metrics.t]\n"


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        (
            "panel/+/volt",
            "SENSOR_TOPIC=panel/{device_id}/volt: expected none that panels.toml: topic (panel/{device_id}/",
        ),
    ],
)
def test_a_sensor_topic_that_another_stream_receives_is_the_fault_of_the_variable(topic: str, sentence: str) -> None:
    streams = declared(Settings(_env_file=None, sensor_topic=topic))
    assert streams.unusable["sensors"].startswith(sentence)


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        (
            "control/+/ack",
            "SENSOR_TOPIC=control/{device_id}/ack: expected none that ACK_TOPIC (control/{device_id}/ack)",
        ),
        ("status/+", "SENSOR_TOPIC=status/{device_id}: expected none that STATUS_TOPIC (status/{device_id}) also"),
    ],
)
def test_a_sensor_topic_that_another_variable_receives_stops_the_start_and_is_named(topic: str, sentence: str) -> None:
    with pytest.raises(StreamError) as caught:
        declared(Settings(_env_file=None, sensor_topic=topic))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["without a mark", "with a byte-order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["line ends of Unix", "line ends of Windows"])
def test_a_file_is_read_whichever_editor_has_written_it(mark: bytes, end: bytes, tmp_path: Path) -> None:
    text = f"# Größe\n{TOPIC}{METRIC}".encode().replace(b"\n", end)
    (tmp_path / "q.toml").write_bytes(mark + text)
    assert str(load(tmp_path, {}, DEVICE_TOPICS)["q"].topic) == "a/{device_id}"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_told_so(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_bytes(f"{TOPIC}{METRIC}".encode(encoding))
    with pytest.raises(StreamError, match=r"q\.toml: is UTF-16 or UTF-32; it must be UTF-8$"):
        load(tmp_path, {}, DEVICE_TOPICS)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.toml").mkdir()
    with pytest.raises(StreamError, match=r"q\.toml: cannot be read: Is a directory$"):
        load(tmp_path, {}, DEVICE_TOPICS)


def test_without_sensor_topic_the_file_says_where_its_readings_arrive(tmp_path: Path) -> None:
    (tmp_path / "sensors.toml").write_text(f'topic = "plant/{{device_id}}/esp32"\n{METRIC}')
    assert declared(Settings(_env_file=None, streams_dir=tmp_path)).subscriptions()[0] == "plant/+/esp32"
    moved = declared(Settings(_env_file=None, streams_dir=tmp_path, sensor_topic="sensors/+/data"))
    assert moved.subscriptions()[0] == "sensors/+/data"


def test_of_two_files_that_claim_a_topic_the_one_that_was_there_first_keeps_it(tmp_path: Path) -> None:
    for age, name in enumerate(("sensors", "alpha")):
        file = tmp_path / f"{name}.toml"
        file.write_bytes((TOPIC + METRIC).encode())
        os.utime(file, (1_790_000_000 + age, 1_790_000_000 + age))
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    assert [stream.name for stream in streams] == ["sensors"]
    assert list(streams.unusable) == ["alpha"]
