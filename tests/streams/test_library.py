"""The library of streams: the messages of real devices, and the examples of its pages."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from config import PROJECT, Settings
from ingest.message import Reading, Rejection
from ingest.payload import Parser
from ingest.presence import PresenceNotice, StreamPresence
from streams import declaration
from streams.checks import StreamError
from streams.declaration import load
from streams.files import LIBRARY
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

NAMES = sorted(path.stem for path in LIBRARY.glob("*.toml"))
FAMILIES = {
    "ChirpStack v4": "chirpstack",
    "Dragino (ChirpStack)": "chirpstack",
    "ESPHome": "esphome",
    "Shelly Gen1": "shelly-gen1",
    "Shelly Gen2": "shelly-gen2",
    "Tasmota": "tasmota",
    "The Things Stack v3": "the-things-stack",
    "Zigbee2MQTT": "zigbee2mqtt",
}
DATA = (PROJECT / "tests" / "data" / "devices.jsonl").read_text().splitlines()
CASES = [case for case in map(json.loads, DATA) if case["family"] in FAMILIES]
OTHER_TOPICS = ("STATE", "Zigbee/SENSOR", "switch:0", "mode/state", "bedroom_gas/state")
PAGES = {name: (PROJECT / "docs" / "devices" / f"{name}.md").read_text() for name in NAMES}


@pytest.fixture(scope="module")
def parser() -> Parser:
    """A parser of the whole library."""
    streams = load(LIBRARY, {}, DEVICE_TOPICS)
    assert not streams.unusable
    return Parser(streams)


def values_of(found: Reading) -> dict[str, Any]:
    present = zip(found.stream.metrics, found.values, strict=True)
    return {metric.name: value for metric, value in present if value is not None}


def _is_declared(parser: Parser, case: dict[str, Any]) -> bool:
    return parser._streams.match(case["topic"]) is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["family"]))
def test_a_message_of_a_device_is_read(case: dict[str, Any], parser: Parser) -> None:
    """The library names some metrics differently, and has some that the case does not."""
    if not _is_declared(parser, case):
        # The library has the topics that most people need; names of components are their own.
        assert case["topic"].endswith(OTHER_TOPICS)
        return
    payload = (
        case["payload"].encode() if "payload" in case else base64.b64decode(case["payload_b64"])
    )
    found = parser.parse(Message(case["topic"], payload, RECEIVED))
    assert not isinstance(found, Rejection) or case["outcome"] == "rejected", found
    if isinstance(found, Reading):
        (expected,) = case["expect"]
        assert found.device_id == expected["device"]
        assert set(expected["metrics"].values()) & set(values_of(found).values())


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_its_page_gives_the_reading_that_it_shows(name: str, parser: Parser) -> None:
    page = PAGES[name]
    topic = re.search(r"^On `(.+)`:$", page, re.MULTILINE)
    payload = re.search(r"^```json\n(.+)\n```$", page, re.MULTILINE)
    assert topic
    assert payload
    found = parser.parse(Message(topic[1], payload[1].encode(), RECEIVED))
    assert isinstance(found, Reading), found
    shown = re.search(r"^gives (.+) of `(.+)`\.$", page, re.MULTILINE)
    assert shown
    units = {metric.name: metric.unit for metric in found.stream.metrics}
    assert dict(re.findall(r"`(\w+)` ([^,]+?)(?=,| and |$)", shown[1])) == {
        name: f"{value} {units[name]}".replace(".0 ", " ").strip()
        for name, value in values_of(found).items()
    }
    assert (found.stream.name, found.device_id) == (name, shown[2])


@pytest.mark.parametrize(
    ("topic", "payload", "stream", "device_id", "online"),
    [
        ("tele/plug_cellar/LWT", "Online", "tasmota", "plug_cellar", True),
        ("tele/plug_cellar/LWT", "Offline", "tasmota", "plug_cellar", False),
        ("zigbee2mqtt/a/b/availability", '{"state":"online"}', "zigbee2mqtt", "a.b", True),
        ("zigbee2mqtt/a/b/availability", "offline", "zigbee2mqtt", "a.b", False),
        ("bedroom-env/status", "online", "esphome", "bedroom-env", True),
        ("shellies/em-A1/online", "false", "shelly-gen1", "em-A1", False),
        ("shellyplus1pm-a8/online", "true", "shelly-gen2", "shellyplus1pm-a8", True),
    ],
)
def test_the_presence_of_a_device_is_read(
    topic: str, payload: str, stream: str, device_id: str, online: bool
) -> None:
    streams = load(LIBRARY, {}, DEVICE_TOPICS)
    parser = Parser(streams, StreamPresence.of(streams))
    assert parser.parse(message := Message(topic, payload.encode(), RECEIVED)) == PresenceNotice(
        device_id, message, online, stream
    )


def test_every_stream_of_it_is_in_the_table_of_devices() -> None:
    listed = re.findall(
        r"^\| `([\w-]+)` \|", (PROJECT / "docs" / "devices.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == NAMES


def names_of(folder: Path, streams: str) -> list[str]:
    settings = Settings(_env_file=None, streams_dir=folder, streams=streams)
    return [stream.name for stream in declaration.declared(settings)]


def test_the_setting_names_streams_of_the_folder_and_then_of_the_library(tmp_path: Path) -> None:
    for name in ("mine", "other", "tasmota"):
        (tmp_path / f"{name}.toml").write_text(f'topic = "{name}/{{device_id}}"\n[metrics.t]\n')
    assert names_of(tmp_path, "") == ["mine", "other", "tasmota"]
    assert names_of(tmp_path, " mine , esphome,mine") == ["esphome", "mine"]
    settings = Settings(_env_file=None, streams_dir=tmp_path, streams="tasmota")
    assert str(declaration.declared(settings)["tasmota"].topic) == "tasmota/{device_id}"


def test_an_unknown_name_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('topic = "mine/{device_id}"\n[metrics.t]\n')
    with pytest.raises(StreamError) as caught:
        names_of(tmp_path, "mine,nothing")
    assert str(caught.value) == (
        "STREAMS=mine,nothing: no stream nothing; "
        f"expected names of {', '.join(sorted([*NAMES, 'mine']))}"
    )


@pytest.mark.parametrize("text", ["a,,b", ",", "a,"])
def test_a_name_may_not_be_empty(text: str) -> None:
    with pytest.raises(ValueError, match="must be names with commas between"):
        Settings(_env_file=None, streams=text)
