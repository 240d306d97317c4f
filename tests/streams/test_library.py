"""The library of streams: the messages of real devices, and the examples of its pages."""

import base64
import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from config import PROJECT, Settings
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from ingest.presence import PresenceNotice, StreamPresence
from streams import declaration
from streams.checks import StreamError
from streams.declaration import load
from streams.files import LIBRARY
from tests.families import CASES, message_of, values_of
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

NAMES = sorted(path.stem for path in LIBRARY.glob("*.toml"))
FAMILIES = {
    "ChirpStack v4": "chirpstack",
    "Dragino (ChirpStack)": "chirpstack",
    "ESPHome": "esphome",
    "OpenMQTTGateway BLE": "openmqttgateway",
    "Shelly Gen1": "shelly-gen1",
    "Shelly Gen2": "shelly-gen2",
    "Sparkplug B": "sparkplug",
    "Tasmota": "tasmota",
    "Telegraf influx": "telegraf",
    "The Things Stack v3": "the-things-stack",
    "Zigbee2MQTT": "zigbee2mqtt",
}
LIBRARY_CASES = [case for case in CASES if case["family"] in FAMILIES]
OTHER_TOPICS = ("STATE", "Zigbee/SENSOR", "switch:0", "mode/state", "bedroom_gas/state")
# The library tells the measurements of a host apart.
DEVICES = {
    "nas1-cpu-total": "nas1-cpu-cpu-total",
    "nas1-cpu0": "nas1-cpu-cpu0",
    "plant": "plant-modbus",
}
PAGES = {name: (PROJECT / "docs" / "devices" / f"{name}.md").read_text() for name in NAMES}


@pytest.fixture(scope="module")
def parser() -> Parser:
    """A parser of the whole library, and of the presence of its devices."""
    streams = load(LIBRARY, {}, DEVICE_TOPICS)
    assert not streams.unusable
    return Parser(streams, StreamPresence.of(streams))


def readings_of(found: Parsed) -> Sequence[Reading]:
    if isinstance(found, Several):
        return found.readings
    return [found] if isinstance(found, Reading) else []


def _is_declared(parser: Parser, case: dict[str, Any]) -> bool:
    return parser._streams.match(case["topic"]) is not None


@pytest.mark.parametrize("case", LIBRARY_CASES, ids=lambda case: str(case["family"]))
def test_a_message_of_a_device_is_read(case: dict[str, Any], parser: Parser) -> None:
    """The library names some metrics differently, and has some that the case does not."""
    if not _is_declared(parser, case):
        # The library has the topics that most people need; names of components are their own.
        assert case["topic"].endswith(OTHER_TOPICS)
        return
    for earlier in case.get("before", []):
        parser.parse(message_of(earlier))
    found = parser.parse(message_of(case))
    assert not isinstance(found, Rejection) or case["outcome"] == "rejected", found
    readings = readings_of(found)
    for reading, expected in zip(readings, case["expect"] if readings else [], strict=True):
        assert reading.device_id == DEVICES.get(expected["device"], expected["device"])
        assert set(expected["metrics"].values()) & set(values_of(reading).values())


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_its_page_gives_the_reading_that_it_shows(name: str, parser: Parser) -> None:
    page = PAGES[name]
    topic = re.search(r"^On `(.+)`:$", page, re.MULTILINE)
    payload = re.search(r"^```(json|text|base64)\n(.+)\n```$", page, re.MULTILINE)
    assert topic
    assert payload
    raw = base64.b64decode(payload[2]) if payload[1] == "base64" else payload[2].encode()
    found = parser.parse(Message(topic[1], raw, RECEIVED))
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
        ("solar/114181234567/status/reachable", "0", "opendtu", "114181234567", False),
        ("inverter/HM-600/available", "1", "ahoydtu", "HM-600", True),
        ("inverter/HM-600/available", "0", "ahoydtu", "HM-600", False),
        ("home/OMG_attic/LWT", "offline", "openmqttgateway-system", "OMG_attic", False),
    ],
)
def test_the_presence_of_a_device_is_read(
    topic: str, payload: str, stream: str, device_id: str, online: bool, parser: Parser
) -> None:
    assert parser.parse(message := Message(topic, payload.encode(), RECEIVED)) == PresenceNotice(
        device_id, message, online, stream
    )


MESSAGES: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    (
        "home/OMG_attic/RTL_433toMQTT/Acurite-Tower/A/5812",
        '{"model":"Acurite-Tower","id":5812,"battery_ok":1,"temperature_C":21.3,"humidity":44}',
    ): ("Acurite-Tower.A.5812", {"temperature": 21.3, "humidity": 44.0, "battery_ok": True}),
    (
        "home/TheengsGateway/BTtoMQTT/C47C8D6A1B2C",
        '{"id":"C4:7C:8D:6A:1B:2C","rssi":-77,"model_id":"HHCCJCY01HHCC","moi":31,"fer":214}',
    ): ("C47C8D6A1B2C", {"moisture": 31.0, "fertility": 214.0}),
    ("solar/114181234567/2/yieldtotal", "310.482"): ("114181234567", {"yieldtotal_2": 310.482}),
    ("solar/114181234567/status/producing", "1"): ("114181234567", {"producing": True}),
    ("solar/ac/power", "1180.7"): ("ac", {"sum_power": 1180.7}),
    ("inverter/HM-600/ch1/U_DC", "38.900"): ("HM-600", {"voltage_1": 38.9}),
    ("N/c0619ab4a1b2/battery/256/Dc/0/Voltage", '{"value":52.31}'): (
        "c0619ab4a1b2-battery-256",
        {"dc_voltage": 52.31},
    ),
    ("N/c0619ab4a1b2/vebus/276/Mode", '{"max":4,"min":1,"value":3}'): (
        "c0619ab4a1b2-vebus-276",
        {"mode": 3},
    ),
    ("homeassistant/binary_sensor/cellar_door/state", "on"): (
        "cellar_door",
        {"binary_sensor": True},
    ),
    ("homeassistant/climate/bath/state", "heat"): ("bath", {"climate": "heat"}),
    (
        "telegraf/nas1/disk",
        "disk,device=sda1,host=nas1,path=/ free=182536i,used_percent=63.49 1759163270000000000",
    ): ("nas1-disk-sda1", {"free": 182536, "used_percent": 63.49}),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.items(), ids=lambda one: str(one[0]))
def test_a_message_gives(
    message: tuple[str, str], expected: tuple[str, dict[str, Any]], parser: Parser
) -> None:
    topic, payload = message
    found = parser.parse(Message(topic, payload.encode(), RECEIVED))
    assert isinstance(found, Reading), found
    assert (found.device_id, values_of(found)) == expected


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("home/OMG_attic/BTtoMQTT/58782076BC24", '{"id":"58:78:20:76:BC:24","rssi":-79}'),
        ("home/OMG_attic/BTtoMQTT/undecoded", '{"id":"58:78:20:76:BC:24","tempc":20.6}'),
        ("N/c0619ab4a1b2/pvinverter/20/Ac/L2/Power", '{"value": null}'),
        ("N/c0619ab4a1b2/pvinverter/20/Ac/Power", ""),
        ("homeassistant/sensor/living_room_temperature/state", "unavailable"),
        ("homeassistant/climate/bath/state", "unknown"),
        ("telegraf/nas1/kernel", "kernel,host=nas1 boot_time=1759000000i 1759163270000000000"),
    ],
)
def test_a_message_without_a_value_is_ignored(topic: str, payload: str, parser: Parser) -> None:
    assert isinstance(parser.parse(Message(topic, payload.encode(), RECEIVED)), Ignored)


def test_the_batches_of_telegraf_are_read_by_a_copy_with_explode(tmp_path: Path) -> None:
    text = (LIBRARY / "telegraf-json.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("# explode", "explode"))
    batch = {
        "metrics": [
            {
                "fields": {"usage_idle": idle},
                "name": "cpu",
                "tags": {"cpu": cpu, "host": "nas1"},
                "timestamp": 1759163270,
            }
            for cpu, idle in [("cpu0", 80.5), ("cpu1", 91)]
        ]
    }
    message = Message("telegraf-json/nas1/cpu", json.dumps(batch).encode(), RECEIVED)
    readings = readings_of(Parser(load(tmp_path, {}, DEVICE_TOPICS)).parse(message))
    assert [(one.device_id, values_of(one), one.timestamp) for one in readings] == [
        ("nas1-cpu-cpu0", {"usage_idle": 80.5}, datetime(2025, 9, 29, 16, 27, 50)),
        ("nas1-cpu-cpu1", {"usage_idle": 91.0}, datetime(2025, 9, 29, 16, 27, 50)),
    ]


def test_all_of_it_can_be_used_beside_the_shipped_streams() -> None:
    shipped = [path.stem for path in (PROJECT / "streams").glob("*.toml")]
    settings = Settings(_env_file=None, streams=",".join([*shipped, *NAMES]))
    streams = declaration.declared(settings)
    assert not streams.unusable
    assert {stream.name for stream in streams} == {*shipped, *NAMES}


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
