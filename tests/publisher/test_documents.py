"""The guide of the static publisher is true: its files, its commands and its program."""

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
from tests.documents import PAGES, fenced, section
from tests.support import PROJECT, BackendProcess, Mosquitto, missing, wait_for

GUIDE = PAGES["docs/static-publisher.md"]
SECTION = section("docs/quickstart.md", "## Publish without a device")
EXAMPLES = [*fenced(GUIDE, "json"), *fenced(SECTION, "json")]
"""The files that the guide and the quick start show."""


def lines(text: str, program: str) -> list[str]:
    """The lines of bash blocks with a program in them, with their continuation lines."""
    joined = "\n".join(fenced(text, "bash")).replace("\\\n", " ").splitlines()
    return [line for line in joined if line[:1] != "#" and program in line]


def first_cells(head: str, pattern: str) -> list[str]:
    """What matches a pattern in the first column of the guide's table with this head."""
    rows = GUIDE.split(f"{head}\n")[1].split("\n\n")[0].splitlines()[1:]
    return [found for row in rows for found in re.findall(pattern, row.split(" | ")[0])]


@pytest.fixture
def place(tmp_path: Path, mosquitto: Mosquitto) -> dict[str, Any]:
    """The folder and the environment of a program that publishes `payloads.json`."""
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    return {"cwd": tmp_path, "env": path | {"MQTT_PORT": str(mosquitto.port)}}


@pytest.fixture
def backend(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[BackendProcess]:
    """A backend that publishes the file of the guide."""
    (tmp_path / "payloads.json").write_text(EXAMPLES[0])
    named = {"MQTT_PORT": str(mosquitto.port), "PUBLISHER_CONFIG": "payloads.json"}
    started = BackendProcess(tmp_path, None, **named)
    yield started.start()
    started.stop()


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_files_that_it_shows_are_valid(text: str) -> None:
    entries = json.loads(text)
    configs, faults = read(entries)
    assert faults == []
    assert [config.id for config in configs] == [entry["id"] for entry in entries]


def test_it_lists_every_field() -> None:
    assert sorted(first_cells("| field | what it may be |", "`([a-z_]+)`")) == sorted(FIELDS)


def test_it_lists_every_option() -> None:
    options = set(_parser()._option_string_actions) - {"-h", "--help"}
    assert set(first_cells("| option | |", "--[a-z-]+")) == options


def test_the_error_that_it_shows_has_these_words() -> None:
    (shown,) = re.findall(r"^payloads\.json: (entry 2 .*)$", GUIDE, re.MULTILINE)
    good = json.loads(EXAMPLES[1])
    _, faults = read([good[0], good[0] | {"id": "b"}, good[1] | {"interval": "fast"}])
    assert faults == [shown]


def test_its_curl_commands_work_in_their_order(backend: BackendProcess) -> None:
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


@pytest.mark.process
@pytest.mark.parametrize("text", [GUIDE, SECTION], ids=["guide", "quickstart"])
def test_its_publisher_commands_work(text: str, place: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "payloads.json").write_text(fenced(text, "json")[0])
    typed = [shlex.split(line)[1:] for line in lines(text, "-m publisher")]
    publish, show = ([sys.executable, *words] for words in typed)
    publish = [word.replace("1883", place["env"]["MQTT_PORT"]) for word in publish]

    def shown() -> str:
        return str(subprocess.check_output(show, text=True, **place))

    with subprocess.Popen(publish, stderr=subprocess.PIPE, **place) as process:
        wait_for(lambda: " connected\n" in shown(), what="a publisher that is connected")
        assert re.search(r"^boiler +1 +1 +0 +0 ", shown(), re.MULTILINE)
        process.terminate()
        assert process.wait(5) == 0
    assert (tmp_path / "logs" / "mqtt_publisher.log").exists()
    assert (tmp_path / "payloads.json.statistics").exists()


@pytest.mark.process
def test_its_python_program_prints_the_status(place: dict[str, Any], tmp_path: Path) -> None:
    (program,) = fenced(GUIDE, "python")
    (tmp_path / "payloads.json").write_text(EXAMPLES[0])
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False, **place)
    assert run.stderr == ""
    assert re.fullmatch(r"1 (True|False) \d+\n", run.stdout)
