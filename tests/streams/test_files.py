"""The files of the streams: how they are written, and who is blamed where SENSOR_TOPIC stands for a file's topic."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from streams.checks import StreamError
from streams.declaration import declared, load
from tests.api import running
from tests.support import DEVICE_TOPICS, Mosquitto, publishing, wait_for

TOPIC = 'topic = "a/{device_id}"\n'
METRIC = "[metrics.t]\n"


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        (
            "panel/+/volt",
            "SENSOR_TOPIC=panel/{device_id}/volt: overlaps with panels.toml: topic (panel/{device_id}/",
        ),
    ],
)
def test_a_sensor_topic_that_another_stream_receives_is_the_fault_of_the_variable(
    topic: str, sentence: str
) -> None:
    streams = declared(Settings(_env_file=None, sensor_topic=topic))
    assert streams.unusable["sensors"].startswith(sentence)


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        (
            "control/+/ack",
            "SENSOR_TOPIC=control/{device_id}/ack: overlaps with ACK_TOPIC (control/{device_id}/ack)",
        ),
        (
            "status/+",
            "SENSOR_TOPIC=status/{device_id}: overlaps with STATUS_TOPIC (status/{device_id})",
        ),
    ],
)
def test_a_sensor_topic_that_another_variable_receives_stops_the_start_and_is_named(
    topic: str, sentence: str
) -> None:
    with pytest.raises(StreamError) as caught:
        declared(Settings(_env_file=None, sensor_topic=topic))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "mark", [b"", b"\xef\xbb\xbf"], ids=["without a mark", "with a byte-order mark"]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["line ends of Unix", "line ends of Windows"])
def test_a_file_is_read_whichever_editor_has_written_it(
    mark: bytes, end: bytes, tmp_path: Path
) -> None:
    text = f"# Größe\n{TOPIC}{METRIC}".encode().replace(b"\n", end)
    (tmp_path / "q.toml").write_bytes(mark + text)
    assert str(load(tmp_path, {}, DEVICE_TOPICS)["q"].topic) == "a/{device_id}"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_told_so(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_bytes(f"{TOPIC}{METRIC}".encode(encoding))
    with pytest.raises(StreamError, match=r"q\.toml: is UTF-16 or UTF-32; it must be UTF-8$"):
        load(tmp_path, {}, DEVICE_TOPICS)


def link_to_nothing(file: Path) -> None:
    file.symlink_to("root@vm.123:1")


def link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def socket_file(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(file))


def nested_deeply(file: Path) -> None:
    file.write_text(f"topic = {'[' * 5000}")


@pytest.mark.broker
@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (link_to_nothing, "cannot be read: No such file or directory"),
        (link_to_itself, "cannot be read: Too many levels of symbolic links"),
        (Path.mkdir, "cannot be read: it is a folder"),
        (os.mkfifo, "cannot be read: it is not a regular file"),
        (socket_file, "cannot be read: No such device or address"),
        (nested_deeply, "its values are nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_stops_no_other(
    make: Callable[[Path], None], fault: str, tmp_path: Path
) -> None:
    make(tmp_path / "q.toml")
    with pytest.raises(StreamError, match=f"^{tmp_path}/q.toml: {fault}$"):
        load(tmp_path, {}, DEVICE_TOPICS)
    (tmp_path / "good.toml").write_text(TOPIC + METRIC)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    assert [stream.name for stream in streams] == ["good"]
    assert streams.unusable == {"q": f"{tmp_path}/q.toml: {fault}"}


def refuse(monkeypatch: pytest.MonkeyPatch, wanted: Path, error: OSError) -> None:
    """Fail to open one file, also for root."""
    really = os.open

    def opened(path: Path, *rest: int) -> int:
        if Path(path) == wanted:
            raise error
        return really(path, *rest)

    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file or directory")],
)
def test_a_file_that_may_not_be_read_or_vanishes_is_named_and_stops_no_other(
    error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "sensors"):
        (tmp_path / f"{name}.toml").write_text(f'topic = "{name}/{{device_id}}"\n{METRIC}')
    refuse(monkeypatch, tmp_path / "sensors.toml", error)
    streams = load(tmp_path, {"sensors": "sensors/{device_id}"}, DEVICE_TOPICS)
    assert streams.unusable == {
        "sensors": f"{tmp_path}/sensors.toml: cannot be read: {error.strerror}"
    }
    assert streams.unusable_at("sensors/1") is not None


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    link_to_nothing(tmp_path / ".#sensors.toml")  # as Emacs makes it while sensors.toml is edited
    (tmp_path / "._sensors.toml").write_bytes(b"\0\5\x16\7")
    with pytest.raises(StreamError, match="no stream is declared here"):
        load(tmp_path, {}, DEVICE_TOPICS)
    (tmp_path / "sensors.toml").write_text(TOPIC + METRIC)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    assert ([stream.name for stream in streams], streams.unusable) == (["sensors"], {})


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StreamError, match=f"^{tmp_path}/gone: cannot be read: No such file or directory$"
    ):
        load(tmp_path / "gone", {}, DEVICE_TOPICS)


def test_without_sensor_topic_the_file_says_where_its_readings_arrive(tmp_path: Path) -> None:
    (tmp_path / "sensors.toml").write_text(f'topic = "plant/{{device_id}}/esp32"\n{METRIC}')
    assert (
        declared(Settings(_env_file=None, streams_dir=tmp_path)).subscriptions()[0]
        == "plant/+/esp32"
    )
    moved = declared(Settings(_env_file=None, streams_dir=tmp_path, sensor_topic="sensors/+/data"))
    assert moved.subscriptions()[0] == "sensors/+/data"


def test_of_two_files_that_claim_a_topic_the_one_that_was_there_first_keeps_it(
    tmp_path: Path,
) -> None:
    for age, name in enumerate(("sensors", "alpha")):
        file = tmp_path / f"{name}.toml"
        file.write_bytes((TOPIC + METRIC).encode())
        os.utime(file, (1_790_000_000 + age, 1_790_000_000 + age))
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    assert [stream.name for stream in streams] == ["sensors"]
    assert list(streams.unusable) == ["alpha"]


def test_a_file_whose_name_is_no_text_stops_nothing_else(
    tmp_path: Path, settings: Callable[..., Settings], mosquitto: Mosquitto
) -> None:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "q.toml").write_text(f"{TOPIC}{METRIC}")
    Path(os.fsdecode(os.fsencode(folder) + b"/t\xe9mp.toml")).write_text(
        'topic = "b/{device_id}"\n'
    )
    values = settings(streams_dir=folder, mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)
    with running(values, start=True) as api, publishing(mosquitto.port) as publish:
        wait_for(lambda: api.get("/api/health")["mqtt"]["subscribed"], what="the subscription")
        assert "The stream t\\udce9mp cannot be used" in api.get("/api/health")["message"]
        assert "t\\udce9mp" in api.get("/api/nothing", expect=404)["message"]
        for topic in ("b/x", "a/x"):
            publish(topic, '{"t": 1}')
        wait_for(lambda: api.get("/api/health")["mqtt"]["stored"] == 1, what="the neighbour")
        assert [row["reason"] for row in api.get("/api/rejected")["data"]] == ["stream_unusable"]
