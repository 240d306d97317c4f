"""What the documentation shows is so: commands run, programs print, examples are stored."""

import json
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.acknowledgements import ANSWERS
from tests.devices import DeviceClient
from tests.documents import GUIDES, blocks, commands, only
from tests.support import (
    DEVICE_TOPICS,
    PROJECT,
    BackendProcess,
    missing,
    payload,
    publishing,
    wait_for,
)

ELSEWHERE = {
    "docs/figures.md",
    "docs/static-publisher.md",
    "integrations/flexotwin/README.md",
    "integrations/harit_samarth/README.md",
    "integrations/pelbiot/README.md",
}
"""The pages with commands that other tests run.

They are `test_documented_commands.py` in this folder, and `tests/publisher/test_documents.py`.
"""
ASKED = {page: commands(page, "curl", "mosquitto_pub") for page in GUIDES}
ASKING = [page for page, lines in ASKED.items() if lines and page not in ELSEWHERE]


@pytest.fixture
def backend(tmp_path: Path, fast_broker: int) -> Iterator[BackendProcess]:
    """A backend with the shipped streams and the one that the page on streams adds."""
    folder = tmp_path / "streams"
    folder.mkdir()
    for file in (PROJECT / "streams").glob("*.toml"):
        shutil.copy(file, folder)
    example = blocks("docs/streams.md", "toml")[0]
    name = re.match(r"# streams/([a-z]+\.toml)\n", example)
    assert name is not None
    (folder / name[1]).write_text(example, encoding="utf-8")
    started = BackendProcess(tmp_path, MQTT_PORT=str(fast_broker), STREAMS_DIR=str(folder)).start()
    wait_for(started.ready, what="the backend to be healthy")
    yield started
    started.stop()


def curl(command: str, backend: BackendProcess) -> "subprocess.Popen[str]":
    """A documented curl, asking this backend; it fails where the answer is an error."""
    if shutil.which("curl") is None:
        missing("curl")
    assert "localhost:5000" in command
    (backend.folder / ".curlrc").write_text("fail-with-body\n")
    line = command.replace("localhost:5000", f"127.0.0.1:{backend.port}")
    return subprocess.Popen(
        ["bash", "-c", f"exec {line}"],
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "CURL_HOME": str(backend.folder)},
        stdout=subprocess.PIPE,
        text=True,
    )


def published(command: str) -> tuple[str, str]:
    """The topic and the payload of a mosquitto_pub at QoS 1."""
    parts = re.search(r"-q 1 -t (\S+) +-m '(.*)'", command)
    assert parts is not None
    return parts[1], parts[2]


@pytest.mark.parametrize("page", ASKING)
def test_every_command_of_a_page_works(
    page: str, backend: BackendProcess, fast_broker: int
) -> None:
    board = DeviceClient(fast_broker, answers=("succeeded",))
    for command in ASKED[page]:
        if command.startswith("mosquitto_pub"):
            publish(command, backend, fast_broker)
        elif "/live" not in command:
            process = curl(command, backend)
            answer = json.loads(process.communicate(timeout=30)[0])
            assert process.returncode == 0, (command, answer)
            if "wait=" in command:
                assert answer["status"] == "succeeded"
    board.close()


def publish(command: str, backend: BackendProcess, port: int) -> None:
    """Publish what a command publishes, and wait until it is stored with the time that it has."""
    topic, text = published(command)
    with publishing(port) as send:
        send(topic, text)
    stream, device_id = topic.split("/")[:2]
    path = f"/api/{stream}/latest?device_id={device_id}"
    wait_for(lambda: backend.get(path)[0] == 200, what="the reading")
    assert backend.get(path)[1]["data"]["device_timestamp"] is None


def test_the_pages_show_many_calls() -> None:
    lines = [line for page in ASKING for line in commands(page, "curl")]
    assert len([line for line in lines if "/live" not in line]) >= 13
    assert all(ASKED[page] for page in ELSEWHERE)


def test_the_live_curl_tells_what_was_stored_and_what_is_stored_then(
    backend: BackendProcess,
) -> None:
    (command,) = commands("docs/live.md", "curl")
    post_now(backend)
    with curl(command, backend) as process:
        assert process.stdout is not None
        assert wait_for(process.stdout.readline) == "retry: 2000\n"
        assert next_event(process) == "reading"
        post_now(backend)
        assert next_event(process) == "reading"
        process.kill()


def post_now(backend: BackendProcess) -> None:
    """Store a reading of ESP32_001, measured now."""
    reading = payload(device_id="ESP32_001", timestamp=time.time())
    assert backend.post("/api/sensors/readings", reading.encode())[0] == 201


def next_event(process: "subprocess.Popen[str]") -> str:
    """The name of the next Server-Sent Event."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("event: "):
            return line.removeprefix("event: ").strip()
    pytest.fail("curl has ended")


def test_the_program_prints_what_is_stored(backend: BackendProcess) -> None:
    program = only("docs/live.md", "python")
    program = program.replace("localhost:5000", f"127.0.0.1:{backend.port}")
    run = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.2)[0]:
            post_now(backend)
        assert process.stdout.readline().split()[1:] == ["24.5"]
        process.kill()


@pytest.mark.process
def test_the_scripts_of_its_pages_can_be_read() -> None:
    node = shutil.which("node")
    if node is None:
        missing("node")
    html = "".join(block for page in GUIDES for block in blocks(page, "html"))
    scripts = re.findall(r"<script>\n(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run([str(node), "--check", "-"], input=script, text=True, check=True)


def test_a_device_gets_a_command_as_shown(backend: BackendProcess, fast_broker: int) -> None:
    shown, answer = map(json.loads, only("docs/commands.md", "json").splitlines())
    board = DeviceClient(fast_broker)
    backend.post("/api/control", {"device_id": "ESP32_001", "command": "ping"})
    assert list(board.next_command()) == list(shown)
    board.close()
    assert answer["command_id"] == shown["command_id"]
    assert answer["status"] in ANSWERS
    assert set(answer) == {"command_id", "status", "reason", "result"}


def test_the_page_on_rest_shows_a_real_answer(backend: BackendProcess) -> None:
    (line,) = [line for line in commands("docs/rest.md", "curl") if "/readings" in line]
    posted = re.search(r"-d '(.*)'", line)
    assert posted is not None
    assert backend.post("/api/sensors/readings", posted[1].encode())[1]["stored"] == 1
    assert_shown("docs/rest.md", backend, "ESP32_001")


def test_the_readme_shows_a_real_answer(backend: BackendProcess, fast_broker: int) -> None:
    (command,) = commands("README.md", "mosquitto_pub")
    publish(command, backend, fast_broker)
    assert_shown("README.md", backend, "shed")


def assert_shown(page: str, backend: BackendProcess, device_id: str) -> None:
    """The page shows the newest reading of a device as the backend answers with it."""
    shown = json.loads(only(page, "json"))
    real = backend.get(f"/api/sensors/latest?device_id={device_id}")[1]["data"]
    assert real == shown["data"] | {name: real[name] for name in ("id", "created_at")}
    assert list(real) == list(shown["data"])


def test_what_the_sketch_publishes_is_stored(backend: BackendProcess, fast_broker: int) -> None:
    sketch = only("docs/esp32.md", "cpp")
    form = re.search(r'"(\{\\"temperature.*\})"', sketch)
    assert form is not None
    text = form[1].replace('\\"', '"').replace("%lu.%06lu", "1769697045.000123")
    with publishing(fast_broker) as send:
        send(constants(sketch)["TOPIC"], re.sub(r"%\.(\d)f", "1.5", text))
    wait_for(lambda: backend.get("/api/sensors/latest")[0] == 200, what="the reading")
    stored = backend.get("/api/sensors/latest")[1]["data"]
    assert stored["timestamp"] == "2026-01-29T14:30:45.000123Z"


def constants(sketch: str) -> dict[str, str]:
    """The texts of the sketch by their names, put together as the compiler does it."""
    (device,) = re.findall(r'^#define DEVICE "(.*?)"', sketch, re.MULTILINE)
    named = re.findall(r"\b([A-Z]+)\[\] = ([^,;]+)", sketch)
    named = [(name, value.replace("DEVICE", f'"{device}"')) for name, value in named]
    texts = {name: "".join(re.findall(r'"(.*?)"', value)) for name, value in named}
    return texts | {"DEVICE": device}


def test_the_sketch_names_the_board_once() -> None:
    sketch = only("docs/esp32.md", "cpp")
    assert sketch.count(constants(sketch)["DEVICE"]) == 1


def test_the_sketch_uses_the_topics_of_a_device() -> None:
    named = constants(only("docs/esp32.md", "cpp"))
    control, ack, status = (DEVICE_TOPICS.control, DEVICE_TOPICS.ack, DEVICE_TOPICS.status)
    expected = {"COMMANDS": control, "ANSWERS": ack, "STATUS": status}
    assert {name: named[name] for name in expected} == {
        name: topic.fill(named["DEVICE"]) for name, topic in expected.items()
    }
