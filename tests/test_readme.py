"""The README tells the truth: its tables, paths, commands and examples are held against the code."""

import json
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from app import create_app
from config import PROJECT, VERSION, Settings
from ingest.acknowledgements import ANSWERS
from routes.fields import Status
from streams import declaration
from tests.devices import Device
from tests.support import DEVICE_TOPICS, Backend, missing, payload, publishing, wait_for

README = (PROJECT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PATHS = sorted(set(re.findall(r"/api/[a-z-]+(?:/[a-z-]+)?(?![a-z/<-])", README)))


def blocks(language: str) -> list[str]:
    """The contents of the fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(first: str) -> list[str]:
    """The commands in bash blocks that begin with a word, with their continuation lines."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.split(" ")[0] == first]


def settings_table() -> dict[str, str]:
    """The defaults in the table of settings, by variable."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\|", README, re.MULTILINE)
    return dict(rows)


@pytest.fixture
def streams_dir(tmp_path: Path) -> Path:
    """The shipped streams and the one that the README adds."""
    folder = tmp_path / "streams"
    folder.mkdir()
    for file in (PROJECT / "streams").glob("*.toml"):
        shutil.copy(file, folder)
    (example,) = blocks("toml")
    name = re.match(r"# streams/([a-z]+\.toml)\n", example)
    assert name is not None
    (folder / name[1]).write_text(example, encoding="utf-8")
    return folder


@pytest.fixture
def backend(tmp_path: Path, embedded_broker: int, streams_dir: Path) -> Iterator[Backend]:
    started = Backend(tmp_path, MQTT_PORT=str(embedded_broker), STREAMS_DIR=str(streams_dir)).start()
    wait_for(started.ready, what="the backend to be healthy")
    yield started
    started.stop()


def test_it_lists_every_setting_with_its_default() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    defaults["streams_dir"] = defaults["streams_dir"].relative_to(PROJECT)
    defaults["earliest_time"] = defaults["earliest_time"].date()
    expected = {name.upper(): "" if value is None else str(value) for name, value in defaults.items()}
    assert settings_table() == expected


def test_every_make_target_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)`?", "\n".join([*blocks("bash"), *re.findall(r"`.*?`", README)])))
    assert {"demo", "test", "run", "check", "bench", "chaos"} <= named
    assert not {name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str, streams_dir: Path) -> None:
    settings = Settings(_env_file=None, streams_dir=streams_dir, database_url=f"sqlite:///{streams_dir}/unused.db")
    rules = {rule.rule.rstrip("/") for rule in create_app(settings).url_map.iter_rules()}
    assert path in rules


def test_the_stream_it_adds_can_be_loaded_and_has_endpoints(streams_dir: Path) -> None:
    stream = declaration.load(streams_dir, {}, DEVICE_TOPICS)["greenhouse"]
    assert [metric.name for metric in stream.metrics] == ["temperature", "humidity"]
    assert {f"/api/greenhouse/{name}" for name in ("latest", "history", "stats", "ml-data", "devices")} <= set(PATHS)


def curl(command: str, backend: Backend) -> "subprocess.Popen[str]":
    """A curl of the README, asking this backend; it fails where the answer is an error."""
    if shutil.which("curl") is None:
        missing("curl")
    assert "localhost:5000" in command
    (backend.folder / ".curlrc").write_text("fail-with-body\n")
    line = command.replace("localhost:5000", f"127.0.0.1:{backend.port}")
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "CURL_HOME": str(backend.folder)}
    return subprocess.Popen(["bash", "-c", f"exec {line}"], env=environment, stdout=subprocess.PIPE, text=True)


def test_every_curl_answers_with_json(backend: Backend, embedded_broker: int) -> None:
    asked = [command for command in commands("curl") if "/live" not in command]
    assert len(asked) >= 13
    board = Device(embedded_broker, answers=("succeeded",))
    for command in asked:
        process = curl(command, backend)
        answer = json.loads(process.communicate(timeout=30)[0])
        assert process.returncode == 0, (command, answer)
        if "wait=" in command:
            assert answer["status"] == "succeeded"
    board.close()


def test_the_live_curl_tells_what_was_stored_and_what_is_stored_then(backend: Backend) -> None:
    (command,) = (command for command in commands("curl") if "/live" in command)
    post_now(backend)
    with curl(command, backend) as process:
        assert process.stdout is not None
        assert wait_for(process.stdout.readline) == "retry: 2000\n"
        assert next_event(process) == "reading"
        post_now(backend)
        assert next_event(process) == "reading"
        process.kill()


def post_now(backend: Backend) -> None:
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


def test_the_program_prints_what_is_stored(backend: Backend) -> None:
    (program,) = blocks("python")
    program = program.replace("localhost:5000", f"127.0.0.1:{backend.port}")
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.2)[0]:
            post_now(backend)
        assert process.stdout.readline().split()[1:] == ["24.5"]
        process.kill()


def test_the_scripts_of_its_pages_can_be_read() -> None:
    node = shutil.which("node")
    if node is None:
        missing("node")
    scripts = [script for page in blocks("html") for script in re.findall(r"<script>\n(.*?)</script>", page, re.DOTALL)]
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run([str(node), "--check", "-"], input=script, text=True, check=True)


def test_it_lists_every_state_of_a_command() -> None:
    table = README.split("| `status` | meaning |\n")[1].split("\n\n")[0]
    named = [name for row in table.splitlines()[1:] for name in re.findall("`([a-z_]+)`", row.split(" | ")[0])]
    assert named == list(get_args(Status))


def test_a_device_gets_a_command_as_shown(backend: Backend, embedded_broker: int) -> None:
    shown, answer = map(json.loads, blocks("json")[1].splitlines())
    board = Device(embedded_broker)
    backend.post("/api/control", {"device_id": "ESP32_001", "command": "ping"})
    assert list(board.next_command()) == list(shown)
    board.close()
    assert answer["command_id"] == shown["command_id"]
    assert answer["status"] in ANSWERS
    assert set(answer) == {"command_id", "status", "reason", "result"}


def test_the_answer_it_shows_has_the_form_of_the_real_one(backend: Backend) -> None:
    shown = json.loads(blocks("json")[0])
    (posted,) = (re.search(r"-d '(.*)'", line) for line in commands("curl") if "/readings" in line)
    assert posted is not None
    assert backend.post("/api/sensors/readings", posted[1].encode())[1]["stored"] == 1
    real = backend.get("/api/sensors/latest?device_id=ESP32_001")[1]
    assert real["data"] == shown["data"] | {name: real["data"][name] for name in ("id", "created_at")}
    assert list(real["data"]) == list(shown["data"])


def test_the_message_it_publishes_is_stored(backend: Backend, embedded_broker: int) -> None:
    (command,) = commands("mosquitto_pub")
    parts = re.search(r"-q 1 -t (\S+) +-m '(.*)'", command)
    assert parts is not None
    with publishing(embedded_broker) as publish:
        publish(parts[1], parts[2])
    wait_for(lambda: backend.get("/api/sensors/latest")[0] == 200, what="the reading")
    assert backend.get("/api/sensors/latest")[1]["data"]["device_timestamp"] is None


def test_what_the_sketch_publishes_is_stored(backend: Backend, embedded_broker: int) -> None:
    (sketch,) = blocks("cpp")
    form = re.search(r'"(\{\\"temperature.*\})"', sketch)
    assert form is not None
    text = form[1].replace('\\"', '"').replace("%lu.%06lu", "1769697045.000123")
    with publishing(embedded_broker) as publish:
        publish(constants(sketch)["TOPIC"], re.sub(r"%\.(\d)f", "1.5", text))
    wait_for(lambda: backend.get("/api/sensors/latest")[0] == 200, what="the reading")
    assert backend.get("/api/sensors/latest")[1]["data"]["timestamp"] == "2026-01-29T14:30:45.000123Z"


def constants(sketch: str) -> dict[str, str]:
    """The texts of the sketch by their names, put together as the compiler does it."""
    (device,) = re.findall(r'^#define DEVICE "(.*?)"', sketch, re.MULTILINE)
    named = re.findall(r"\b([A-Z]+)\[\] = ([^,;]+)", sketch)
    texts = {name: re.findall(r'"(.*?)"', value.replace("DEVICE", f'"{device}"')) for name, value in named}
    return {name: "".join(parts) for name, parts in texts.items()} | {"DEVICE": device}


def test_the_sketch_names_the_board_once() -> None:
    (sketch,) = blocks("cpp")
    assert sketch.count(constants(sketch)["DEVICE"]) == 1


def test_the_sketch_uses_the_topics_of_a_device() -> None:
    (sketch,) = blocks("cpp")
    named = constants(sketch)
    control, ack, status = (DEVICE_TOPICS.control, DEVICE_TOPICS.ack, DEVICE_TOPICS.status)
    expected = {"COMMANDS": control, "ANSWERS": ack, "STATUS": status}
    assert {name: named[name] for name in expected} == {
        name: topic.fill(named["DEVICE"]) for name, topic in expected.items()
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (document.parent / target).exists(), target
    for heading in re.findall(r"\]\(#([^)]*)\)", text):
        slugs = [re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in headings(text)]
        assert heading in slugs


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"\b(?:deploy|docs)/[\w./-]*\w", README))))
def test_every_file_it_names_exists(file: str) -> None:
    assert list(PROJECT.glob(f"{file}*")), file


def test_the_changelog_has_this_version() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    entry = re.search(rf"^## \[{re.escape(VERSION)}\] - .+\n\n### Added\n\n- ", changelog, re.MULTILINE)
    assert entry is not None


def test_decisions_are_numbered_without_a_gap() -> None:
    names = sorted(path.name for path in (PROJECT / "docs" / "adr").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert len(names) >= 4
