"""The readings that `flask verify` publishes, of streams with several readings in a message."""

import json
from pathlib import Path

import pytest

from ingest.payload import Parser
from models import VERIFY_DEVICE
from services.verification_samples import plausible, unverifiable
from streams.declaration import load
from streams.registry import Streams
from tests.support import DEVICE_TOPICS
from tests.written import read_back
from utils import clock

A = "[metrics]\na = {}\n"
KEYED = f'topic = "x/{{gateway}}"\nexplode = "*"\ndevice = "{{key}}"\n{A}'
PAIRS = f'topic = "x"\ndevice = "who"\npairs = {{ name = "id", value = "v" }}\n{A}'


def declared(folder: Path, text: str) -> Streams:
    (folder / "x.toml").write_text(text)
    return load(folder, {}, DEVICE_TOPICS)


@pytest.mark.parametrize("text", [KEYED, PAIRS])
def test_its_reading_is_that_of_its_device(text: str, tmp_path: Path) -> None:
    streams = declared(tmp_path, text)
    assert unverifiable(streams["x"]) == ""
    sample = plausible(streams["x"])
    # It is published as JSON.
    payload = json.loads(json.dumps(sample.payload))
    parser = Parser(streams)
    reading = read_back(parser, sample.topic, payload, received_at=clock.now())
    assert (reading.device_id, reading.timestamp) == (VERIFY_DEVICE, sample.at)
    assert reading.values == (sample.expected["a"],)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f'topic = "x/{{a}}/{{b}}/{{c}}"\ndevice = ["{{a}}", "{{b}}", "{{c}}"]\n{A}',
            "no message of it can name the device autoforge-verify",
        ),
        (
            f'{KEYED}fw = "$.fw"\n',
            "its payloads cannot be written: what is written is read as 2 readings",
        ),
        (
            f'topic = "x/{{device_id}}"\nexplode = ["a", "b"]\n{A}',
            "its payloads have no place for a time",
        ),
    ],
)
def test_a_stream_without_such_a_reading_is_left_out(
    text: str, reason: str, tmp_path: Path
) -> None:
    assert unverifiable(declared(tmp_path, text)["x"]) == reason
