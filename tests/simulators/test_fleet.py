"""The simulator: plausible values, payloads as declared, and every message acknowledged by a real broker."""

import io
import json
import queue
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import correlation, mean, stdev

import paho.mqtt.client as mqtt
import pytest
from iotcore import Broker
from paho.mqtt.enums import CallbackAPIVersion

from broker.in_flight import MAX_IN_FLIGHT
from config import PROJECT, load_settings
from simulators.__main__ import main
from simulators.backend import BackendClient
from simulators.device import SimulatedDevice, SimulatedMessage, devices
from simulators.fleet import Fleet
from simulators.progress import Progress
from simulators.tally import Tally
from simulators.values import States, Walk
from streams.declaration import load
from streams.metric import Simulation
from streams.stream import Stream
from tests.support import DEVICE_TOPICS
from tests.terminal import Terminal

NOON = datetime(2026, 5, 4, 12)
SECOND = timedelta(seconds=1)
SENSORS = load(PROJECT / "streams", {}, DEVICE_TOPICS)["sensors"]

PANEL = """
topic = "panel/{device_id}/{metric}"
[metrics.voltage]
level = "U"
simulate = { mean = 230, noise = 0.5 }
[metrics.breaker]
type = "text"
simulate = { states = ["open", "closed"], hold = 10 }
"""
MACHINE = """
topic = "factory/machines"
device = "machine_id"
values = "readings"
[timestamp]
field = "at"
[metrics.speed]
required = true
simulate = { mean = 900 }
[metrics.status]
type = "text"
simulate = { states = ["RUNNING", "IDLE", "STOPPED"], hold = 60 }
"""

Start = Callable[..., "subprocess.Popen[str]"]


class ReadingSubscriber:
    """A subscriber to all readings; `get` waits for the next one."""

    def __init__(self, port: int) -> None:
        self._messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        subscribed: queue.Queue[None] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        self._client.on_subscribe = lambda *_: subscribed.put(None)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("#", 1)
        self._client.loop_start()
        subscribed.get(timeout=5)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if not message.topic.startswith("status/"):
            self._messages.put(message)

    def get(self) -> mqtt.MQTTMessage:
        return self._messages.get(timeout=5)

    def take(self, count: int) -> list[mqtt.MQTTMessage]:
        return [self.get() for _ in range(count)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Broker(port=free_port(), listen="127.0.0.1") as broker:
        yield broker.port


@pytest.fixture
def listener(port: int) -> Iterator[ReadingSubscriber]:
    listener = ReadingSubscriber(port)
    yield listener
    listener.close()


@pytest.fixture
def start(port: int, spawn: Start) -> Start:
    def _start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-W", "error", "-m", "simulators", *arguments]
        place = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(port)}
        return spawn(command, {**place, **environment})

    return _start


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def declared(folder: Path, name: str, text: str) -> Stream:
    (folder / f"{name}.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)[name]


def messages(
    device: SimulatedDevice, count: int, step: timedelta = SECOND
) -> list[SimulatedMessage]:
    return [device.next(NOON + number * step) for number in range(count)]


def body(message: SimulatedMessage) -> dict[str, object]:
    parsed = json.loads(message.payload)
    assert isinstance(parsed, dict)
    return parsed


def walked(simulation: Simulation, count: int, step: float) -> list[float]:
    walk = Walk(simulation, Random(1))
    return [walk.next(number * step) for number in range(count)]


# Values


def test_the_same_seed_makes_the_same_messages() -> None:
    first, second, other = (
        [
            message
            for device in devices(SENSORS, 3, seed, share=0.2)
            for message in messages(device, 50)
        ]
        for seed in (7, 7, 8)
    )
    assert first == second
    assert first != other


def test_invalid_messages_do_not_change_the_valid_ones() -> None:
    clean, spoilt = SimulatedDevice(SENSORS, "a", 1), SimulatedDevice(SENSORS, "a", 1)
    clean.next(NOON)
    spoilt.next(NOON, invalid=True)
    assert clean.next(NOON + SECOND) == spoilt.next(NOON + SECOND)


def test_devices_differ() -> None:
    assert body(SimulatedDevice(SENSORS, "a", 1).next(NOON)) != body(
        SimulatedDevice(SENSORS, "b", 1).next(NOON)
    )


def test_values_follow_the_daily_swing() -> None:
    hours = walked(Simulation(mean=20, swing=5, noise=0), 24, 3600)
    assert hours.index(min(hours)) in (2, 3, 4)
    assert hours.index(max(hours)) in (14, 15, 16)
    assert max(hours) - min(hours) == pytest.approx(10, abs=0.2)
    assert mean(hours) == pytest.approx(20, abs=0.6)


@pytest.mark.parametrize("step", [1, 600])
def test_noise_has_the_declared_spread_at_any_interval(step: int) -> None:
    assert stdev(walked(Simulation(mean=50, noise=3), 20_000, step)) == pytest.approx(3, rel=0.2)


def test_noise_is_correlated_in_time() -> None:
    near = walked(Simulation(noise=3), 5000, 1)
    far = walked(Simulation(noise=3), 5000, 600)
    assert correlation(near[1:], near[:-1]) > 0.9
    assert abs(correlation(far[1:], far[:-1])) < 0.1


def test_values_stay_between_minimum_and_maximum() -> None:
    values = walked(Simulation(mean=0, noise=5, minimum=-1, maximum=0.123), 500, 60)
    assert min(values) == -1
    assert max(values) == 0.123


@pytest.mark.parametrize(("noise", "decimals"), [(0.3, 2), (8, 1), (50, 0)])
def test_values_have_decimals_in_proportion_to_their_noise(noise: float, decimals: int) -> None:
    values = walked(Simulation(noise=noise), 100, 1)
    assert values == [round(value, decimals) for value in values]
    assert values != [round(value, decimals - 1) for value in values]


def test_a_state_lasts_as_long_as_declared_on_average() -> None:
    states = States(("on", "off", "idle"), 20, Random(1))
    seen = [states.next(second) for second in range(100_000)]
    changes = sum(before != after for before, after in pairwise(seen))
    assert set(seen) == {"on", "off", "idle"}
    assert len(seen) / changes == pytest.approx(20, rel=0.1)


# Payloads


def test_a_reading_has_every_metric_and_an_iso_time_with_microseconds() -> None:
    message = SimulatedDevice(SENSORS, "ESP32_001", 1).next(NOON)
    assert message.topic == "sensors/ESP32_001/data"
    assert list(body(message)) == ["timestamp", "temperature", "vibration", "gas", "power"]
    assert body(message)["timestamp"] == "2026-05-04T12:00:00.000000Z"


def test_timestamps_of_a_device_rise_strictly_even_when_the_clock_stands_or_is_set_back() -> None:
    device = SimulatedDevice(SENSORS, "a", 1)
    times = [
        body(device.next(moment))["timestamp"]
        for moment in (NOON, NOON, NOON - SECOND, NOON + SECOND)
    ]
    assert times == [
        f"2026-05-04T12:00:0{rest}Z" for rest in ("0.000000", "0.000001", "0.000002", "1.000000")
    ]


def test_values_nest_and_the_device_is_named_where_declared(tmp_path: Path) -> None:
    message = SimulatedDevice(declared(tmp_path, "machines", MACHINE), "machines_001", 1).next(NOON)
    assert message.topic == "factory/machines"
    reading = body(message)
    assert (reading["machine_id"], reading["at"]) == ("machines_001", "2026-05-04T12:00:00.000000Z")
    readings = reading["readings"]
    assert isinstance(readings, dict)
    assert readings["speed"] == pytest.approx(900, abs=10)
    assert readings["status"] in ("RUNNING", "IDLE", "STOPPED")


def test_metrics_take_turns_on_their_own_topics_with_value_and_time(tmp_path: Path) -> None:
    device = SimulatedDevice(declared(tmp_path, "panel", PANEL), "panel_001", 1)
    voltage, breaker, again = messages(device, 3)
    assert [voltage.topic, breaker.topic, again.topic] == [
        f"panel/panel_001/{m}" for m in ("U", "breaker", "U")
    ]
    assert body(voltage)["value"] == pytest.approx(230, abs=5)
    assert body(breaker)["value"] in ("open", "closed")
    assert [body(message)["timestamp"] for message in (voltage, breaker, again)] == [
        f"2026-05-04T12:00:0{second}.000000Z" for second in range(3)
    ]


def test_devices_are_named_as_declared_or_after_the_stream(tmp_path: Path) -> None:
    assert [device.device_id for device in devices(SENSORS, 2, 1)] == ["ESP32_001", "ESP32_002"]
    panel = devices(declared(tmp_path, "panel", PANEL), 1, 1)
    assert [device.device_id for device in panel] == ["panel_001"]


# Broken messages


def test_the_share_of_invalid_messages_is_as_asked() -> None:
    device = SimulatedDevice(SENSORS, "a", 1, share=0.05)
    assert sum(device.next(NOON).invalid for _ in range(10_000)) == pytest.approx(500, rel=0.15)


def test_no_invalid_message_can_be_read_and_their_faults_vary() -> None:
    device = SimulatedDevice(SENSORS, "a", 1)
    faults = {fault(device.next(NOON, invalid=True).payload) for _ in range(500)}
    assert faults == {
        "empty",
        "not UTF-8",
        "not JSON",
        "NaN",
        "no object",
        "missing field",
        "not a number",
    }


def test_every_metric_topic_gets_broken_values(tmp_path: Path) -> None:
    device = SimulatedDevice(declared(tmp_path, "panel", PANEL), "a", 1)
    spoilt = [device.next(NOON, invalid=True) for _ in range(200)]
    numbers = {message.payload for message in spoilt if message.topic.endswith("/U")}
    texts = {message.payload for message in spoilt if message.topic.endswith("/breaker")}
    assert {b"", b"abc", b"true", b"-Infinity"} < numbers
    assert texts == {b"", b"\xc3\x28"}


def test_optional_metrics_are_broken_by_their_type_not_by_their_absence(tmp_path: Path) -> None:
    optional = 'device_default = "m"' + MACHINE.replace("required = true", "")
    device = SimulatedDevice(declared(tmp_path, "machines", optional), "a", 1)
    for _ in range(200):
        payload = device.next(NOON, invalid=True).payload
        try:
            parsed = json.loads(payload)
        except ValueError:
            continue
        assert isinstance(parsed, list) or not usable(parsed["readings"]["speed"])


def usable(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    )


def fault(payload: bytes) -> str:
    try:
        reading = json.loads(payload.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except ValueError:
        return "not JSON" if payload else "empty"
    if not isinstance(reading, dict):
        return "no object"
    if len(reading) < 5:
        return "missing field"
    wrong = [value for name, value in reading.items() if name != "timestamp" and not usable(value)]
    assert wrong, payload
    return "NaN" if isinstance(wrong[0], float) else "not a number"


# Publishing


def connected(port: int) -> Fleet:
    settings = load_settings(mqtt_broker="127.0.0.1", mqtt_port=port)
    nowhere = BackendClient(f"http://127.0.0.1:{free_port()}")
    fleet = Fleet(settings, devices(SENSORS, 1, 1), rate=0, backend=nowhere, note=pytest.fail)
    fleet.connect()
    fleet.start()
    settle(fleet)
    return fleet


def settle(fleet: Fleet) -> None:
    """Turn until everything is acknowledged; pytest's time limit is the end of patience."""
    while fleet.boards[0].connection.outstanding:
        fleet.turn(0.2)


@pytest.mark.broker
@pytest.mark.process
def test_the_window_is_a_thousand_unacknowledged_messages(port: int) -> None:
    fleet = connected(port)
    connection = fleet.boards[0].connection
    assert connection.room == MAX_IN_FLIGHT == 1000
    fleet.measure(2 * MAX_IN_FLIGHT)
    assert (connection.room, fleet.tally.outstanding, fleet.tally.published) == (0, 1000, 1000)
    settle(fleet)
    assert (connection.room, fleet.tally.outstanding, fleet.tally.acknowledged) == (1000, 0, 1000)
    fleet.close()


@pytest.mark.broker
@pytest.mark.process
def test_what_a_lost_broker_did_not_acknowledge_is_sent_again() -> None:
    port = free_port()
    with Broker(port=port, listen="127.0.0.1"):
        fleet = connected(port)
    fleet.measure(100)
    while fleet.online:
        fleet.turn(0.2)
    fleet.measure(100)
    assert (fleet.tally.outstanding, fleet.error) == (100, "the connection was lost")
    with Broker(port=port, listen="127.0.0.1"):
        listener = ReadingSubscriber(port)
        settle(fleet)
        times = [json.loads(message.payload)["timestamp"] for message in listener.take(100)]
        assert len(set(times)) == 100
        listener.close()
        fleet.close()


# The command


@pytest.mark.process
@pytest.mark.broker
def test_count_messages_are_published_acknowledged_and_received(
    start: Start, listener: ReadingSubscriber
) -> None:
    out, err = start("--rate", "0", "--count", "500", "--devices", "2", "--seed", "5").communicate(
        timeout=10
    )
    assert (out, err) == ("published 500, acknowledged 500, invalid 0\n", "")
    received = listener.take(500)
    for device in ("ESP32_001", "ESP32_002"):
        times = [
            json.loads(m.payload)["timestamp"]
            for m in received
            if m.topic == f"sensors/{device}/data"
        ]
        assert len(times) == 250
        assert times == sorted(set(times))


@pytest.mark.process
@pytest.mark.broker
def test_the_rate_spaces_the_messages_evenly(start: Start, listener: ReadingSubscriber) -> None:
    start("--rate", "50", "--count", "10", "--devices", "1").communicate(timeout=10)
    times = [datetime.fromisoformat(json.loads(m.payload)["timestamp"]) for m in listener.take(10)]
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert gaps == pytest.approx([0.02] * 9, abs=0.0001)


@pytest.mark.process
@pytest.mark.parametrize("share", ["25%", "0.25"])
def test_the_last_line_counts_the_invalid_messages(start: Start, share: str) -> None:
    out, _ = start("--rate", "0", "--count", "400", "--invalid", share, "--seed", "1").communicate(
        timeout=10
    )
    counted = re.fullmatch(r"published 400, acknowledged 400, invalid (\d+)\n", out)
    assert counted is not None
    assert int(counted[1]) == pytest.approx(100, rel=0.3)


@pytest.mark.process
@pytest.mark.broker
def test_it_publishes_any_declared_stream(
    start: Start, listener: ReadingSubscriber, tmp_path: Path
) -> None:
    declared(tmp_path, "panel", PANEL)
    start(
        "--stream", "panel", "--count", "2", "--rate", "0", STREAMS_DIR=str(tmp_path)
    ).communicate(timeout=10)
    assert [message.topic for message in listener.take(2)] == [
        "panel/panel_001/U",
        "panel/panel_002/U",
    ]


@pytest.mark.process
@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_acknowledged(
    start: Start, listener: ReadingSubscriber, number: int
) -> None:
    process = start("--rate", "200")
    listener.get()
    process.send_signal(number)
    out, err = process.communicate(timeout=5)
    counted = re.fullmatch(r"published (\d+), acknowledged \1, invalid 0\n", out)
    assert counted is not None
    assert (err, process.returncode) == ("", 0)


@pytest.mark.process
def test_an_unknown_stream_is_answered_with_the_declared_ones(start: Start) -> None:
    process = start("--stream", "nothing")
    out, err = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", 2)
    assert re.fullmatch(
        r"--stream nothing: no such stream is declared in .*; declared are: .*\bsensors\b.*\n", err
    )


def test_a_stream_in_another_format_is_not_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rx.toml").write_text('topic = "rx/{device_id}"\nformat = "csv"\n[metrics.lux]\n')
    monkeypatch.setenv("STREAMS_DIR", str(tmp_path))
    assert main(["--stream", "rx"]) == 2
    said = (
        "--stream rx: its payloads cannot be written: payloads are csv, and only json is written\n"
    )
    assert capsys.readouterr() == ("", said)


@pytest.mark.broker
@pytest.mark.process
def test_a_broker_and_a_backend_that_cannot_be_reached_are_one_line(start: Start) -> None:
    port, other = free_port(), free_port()
    process = start(MQTT_PORT=str(port), FLASK_PORT=str(other))
    out, err = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", 2)
    nowhere = f"http://127.0.0.1:{other}"
    assert err == (
        f"the broker at mqtt://127.0.0.1:{port} cannot be reached: Connection refused; "
        f"nor can the backend at {nowhere}: Connection refused\n"
    )


@pytest.mark.process
def test_a_bad_setting_is_one_line(start: Start) -> None:
    process = start(MQTT_KEEPALIVE="soon")
    _, err = process.communicate(timeout=10)
    assert err.startswith("MQTT_KEEPALIVE=soon: ")
    assert (err.count("\n"), process.returncode) == (1, 2)


@pytest.mark.process
@pytest.mark.parametrize(
    "option",
    [
        ("--invalid", "101%"),
        ("--rate", "nan"),
        ("--count", "0"),
        ("--devices", "x"),
        ("--rate=-1",),
        ("--url", "localhost"),
    ],
)
def test_a_bad_option_is_named(start: Start, option: tuple[str, ...]) -> None:
    process = start(*option)
    _, err = process.communicate(timeout=10)
    assert f"argument {option[0].removesuffix('=-1')}: " in err
    assert process.returncode == 2


# The display


def test_the_progress_is_one_line_that_renews_itself_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    progress = Progress("sensors", terminal, renew=0)
    progress.show(Tally(measured=1200, invalid=12, published=1200, acknowledged=1100), "connected")
    assert "\n" not in terminal.getvalue()
    assert re.fullmatch(
        r"\r\x1b\[Ksensors 0:00:00 connected [\d,.]+/s: 1,200 published, 1,100 acknowledged, 12 invalid",
        terminal.getvalue(),
    )


def test_the_progress_is_silent_elsewhere() -> None:
    out = io.StringIO()
    progress = Progress("sensors", out, renew=0)
    progress.show(Tally(1, 0, 1, 1), "connected")
    progress.clear()
    assert out.getvalue() == ""
