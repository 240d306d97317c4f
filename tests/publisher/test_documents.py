"""The guide of the static publisher tells the truth: its file, its commands, its paths and its program."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher.__main__ import _parser
from publisher.entries import FIELDS, read
from tests.documents import section
from tests.support import PROJECT, Backend, Mosquitto, missing, wait_for

GUIDE = (PROJECT / "docs" / "static-publisher.md").read_text(encoding="utf-8")
SECTION = section("docs/quickstart.md", "## Publish without a device")
PATHS = sorted(
    set(re.findall(r"(?:localhost:5000|`(?:[A-Z]+ )?)((?:/api/publisher|/mqtt)/[a-z/]+)", GUIDE))
)


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines(text: str, program: str) -> list[str]:
    """The lines of bash blocks with a program in them, with their continuation lines."""
    joined = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [line for line in joined if line[:1] != "#" and program in line]


def examples() -> list[str]:
    """The files that the guide and the quick start show."""
    return [*blocks(GUIDE, "json"), *blocks(SECTION, "json")]


@pytest.fixture
def backend(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Backend]:
    """A backend that publishes the file of the guide."""
    (tmp_path / "payloads.json").write_text(examples()[0])
    started = Backend(
        tmp_path,
        MQTT_BROKER="127.0.0.1",
        MQTT_PORT=str(mosquitto.port),
        PUBLISHER_CONFIG="payloads.json",
    )
    yield started.start()
    started.stop()


@pytest.mark.parametrize("text", examples())
def test_the_files_it_shows_are_good(text: str) -> None:
    entries = json.loads(text)
    configs, faults = read(entries)
    assert faults == []
    assert [config.id for config in configs] == [entry["id"] for entry in entries]


def test_it_lists_every_field() -> None:
    table = GUIDE.split("| field | what it may be |\n")[1].split("\n\n")[0]
    named = [
        name
        for row in table.splitlines()[1:]
        for name in re.findall("`([a-z_]+)`", row.split(" | ")[0])
    ]
    assert sorted(named) == sorted(FIELDS)


def test_it_lists_every_option() -> None:
    table = GUIDE.split("| option | |\n")[1].split("\n\n")[0]
    shown = [row.split(" | ")[0] for row in table.splitlines()[1:]]
    options = {
        name
        for action in _parser()._actions
        for name in action.option_strings
        if name.startswith("--")
    }
    assert {name for cell in shown for name in re.findall("--[a-z-]+", cell)} == options - {
        "--help"
    }


def test_the_fault_it_shows_is_told_in_these_words() -> None:
    (shown,) = re.findall(r"^payloads\.json: (entry 2 .*)$", GUIDE, re.MULTILINE)
    good = json.loads(examples()[1])
    _, faults = read([good[0], good[0] | {"id": "b"}, good[1] | {"interval": "fast"}])
    assert faults == [shown]


def test_every_curl_of_the_guide_works_in_its_order(backend: Backend) -> None:
    if shutil.which("curl") is None:
        missing("curl")
    answers = []
    for line in lines(GUIDE, "curl"):
        words = shlex.split(line.replace("localhost:5000", f"127.0.0.1:{backend.port}"))
        asked = subprocess.run(
            [words[0], "--fail-with-body", *words[1:]], capture_output=True, text=True, check=False
        )
        answers.append(json.loads(asked.stdout))
        assert asked.returncode == 0, (line, answers[-1])
    _, listed, added, changed, seen, removed, reloaded = answers
    assert [entry["id"] for entry in listed["data"]] == ["boiler"]
    assert (added["version"], changed["version"]) == (1, 2)
    assert seen == changed == removed
    assert (reloaded["success"], reloaded["active_configs"]) == (True, 1)


def test_every_path_of_the_guide_exists(backend: Backend) -> None:
    assert len(PATHS) >= 6
    for path in PATHS:
        assert backend.get(path)[0] != 404 or path.endswith("/fan"), path


@pytest.mark.process
@pytest.mark.parametrize("text", [GUIDE, SECTION], ids=["guide", "quickstart"])
def test_the_commands_publish_the_file_and_show_how_it_goes(
    text: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    (tmp_path / "payloads.json").write_text(blocks(text, "json")[0])
    publish, show = (_typed(line) for line in lines(text, "-m publisher"))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "MQTT_PORT": str(mosquitto.port),
    }
    publish = [word.replace("1883", str(mosquitto.port)) for word in publish]
    with subprocess.Popen(
        publish, cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    ) as process:

        def shown() -> str:
            return subprocess.run(
                show, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
            ).stdout

        wait_for(lambda: " connected\n" in shown(), what="a publisher that is connected")
        assert re.search(r"^boiler +1 +1 +0 +0 ", shown(), re.MULTILINE)
        process.terminate()
        assert process.wait(5) == 0
    assert (tmp_path / "logs" / "mqtt_publisher.log").exists()
    assert (tmp_path / "payloads.json.statistics").exists()


@pytest.mark.process
def test_the_program_from_python_prints_what_it_says(mosquitto: Mosquitto, tmp_path: Path) -> None:
    (program,) = blocks(GUIDE, "python")
    (tmp_path / "payloads.json").write_text(examples()[0])
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "MQTT_PORT": str(mosquitto.port),
    }
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert re.fullmatch(r"1 (True|False) \d+\n", run.stdout)


def _typed(line: str) -> list[str]:
    words: list[Any] = shlex.split(line)
    return [sys.executable, *words[1:]]
