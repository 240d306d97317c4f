"""Simulated devices of streams with several readings in a message, and those that cannot be simulated."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.message import Message
from ingest.message import Parsed, Reading, Several
from ingest.payload import Parser
from simulators.__main__ import main
from simulators.device import SimulatedDevice, devices
from streams.declaration import load
from streams.registry import Streams
from tests.support import DEVICE_TOPICS

NOON = datetime(2026, 1, 29, 12)
SECOND = timedelta(seconds=1)
SHAPES = {
    "keyed": 'topic = "keyed/{gateway}"\nexplode = "meters"\ndevice = ["{gateway}", "{key}"]\n'
    '[metrics]\na = {}\nfw = "$.fw"\n[simulate]\nnames = "gw{}-m"\n',
    "paired": 'topic = "paired/{device_id}"\npairs = { name = "id", value = "v", time = "t" }\n'
    "[metrics]\na = {}\nb = {}\n",
    "zipped": 'topic = "zipped/{device_id}"\nexplode = ["h.timestamp", "h.a"]\n[metrics]\na = {}\n',
}


def declared(folder: Path, texts: dict[str, str]) -> Streams:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)


def parsed(streams: Streams, device: SimulatedDevice, at: datetime, *, invalid: bool) -> Parsed:
    message = device.next(at, invalid=invalid)
    return Parser(streams).parse(Message(message.topic, message.payload, at))


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_device_says_is_a_reading_of_it(name: str, tmp_path: Path) -> None:
    streams = declared(tmp_path, SHAPES)
    for device in devices(streams[name], 2, seed=1):
        found = parsed(streams, device, NOON, invalid=False)
        assert isinstance(found, Reading), found
        assert (found.device_id, found.timestamp) == (device.device_id, NOON)
        assert found.own_time
        assert None not in found.values


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_broken_on_purpose_is_no_reading(name: str, tmp_path: Path) -> None:
    streams = declared(tmp_path, SHAPES)
    device = devices(streams[name], 1, seed=1)[0]
    for number in range(50):
        found = parsed(streams, device, NOON + number * SECOND, invalid=True)
        assert not isinstance(found, Reading | Several), found


def test_a_stream_whose_payloads_cannot_be_written_is_not_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'topic = "x/{device_id}"\n[metrics]\na = "b"\nc = "b.c"\n'
    declared(tmp_path, {"x": text})
    monkeypatch.setenv("STREAMS_DIR", str(tmp_path))
    assert main(["--stream", "x"]) == 2
    assert capsys.readouterr().err == (
        "--stream x: its payloads cannot be written: b.c is in the place of another field\n"
    )
