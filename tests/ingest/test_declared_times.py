"""Times in the zones and formats that a stream declares."""

from datetime import datetime
from pathlib import Path

import pytest

from broker.message import Message
from ingest.message import Parsed, Reading, Rejection
from ingest.payload import Parser
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

ABBREVIATED = "timestamp.zone: expected a name with a place, such as Europe/Berlin, or an offset"
BERLIN = 'zone = "Europe/Berlin"'


def parsed(folder: Path, keys: str, fields: str) -> Parsed:
    (folder / "x.toml").write_text(f'topic = "x/{{device_id}}"\n[timestamp]\n{keys}\n[metrics.m]\n')
    message = Message("x/7", f'{{"m":1,{fields}}}'.encode(), RECEIVED)
    return Parser(load(folder, {}, DEVICE_TOPICS)).parse(message)


@pytest.mark.parametrize("more", ["", ',"x":"é"'])
@pytest.mark.parametrize(
    ("keys", "stated", "expected"),
    [
        (BERLIN, '"2025-09-29T18:27:50"', "2025-09-29T16:27:50"),
        (BERLIN, '"2025-09-29 18:27:50.5"', "2025-09-29T16:27:50.500000"),
        (BERLIN, '"2025-12-29T18:27:50"', "2025-12-29T17:27:50"),
        (BERLIN, '"20251229182750"', "2025-12-29T17:27:50"),
        (BERLIN, '"20251229T182750"', "2025-12-29T17:27:50"),
        (BERLIN, "20251229182750", "2025-12-29T17:27:50"),
        (BERLIN, '"2025-09-29T18:27:50+00:00"', "2025-09-29T18:27:50"),
        (BERLIN, '"2025-09-29T18:27:50Z"', "2025-09-29T18:27:50"),
        (BERLIN, '"20250929T182750-0500"', "2025-09-29T23:27:50"),
        (BERLIN, "1759163270", "2025-09-29T16:27:50"),
        (BERLIN, '"1759163270.5"', "2025-09-29T16:27:50.500000"),
        (BERLIN, '"2025-10-26T02:30:00"', "2025-10-26T00:30:00"),
        (BERLIN, '"2025-03-30T02:30:00"', "2025-03-30T01:30:00"),
        ('zone = "+07:00"', '"2025-09-29T23:27:50"', "2025-09-29T16:27:50"),
        ('zone = "UTC"', '"2025-09-29T16:27:50"', "2025-09-29T16:27:50"),
        ('zone = "GMT"', '"2025-09-29T16:27:50"', "2025-09-29T16:27:50"),
        ('zone = "Etc/GMT-2"', '"2025-09-29T18:27:50"', "2025-09-29T16:27:50"),
        ('zone = "-0330"', '"2025-09-29T12:57:50"', "2025-09-29T16:27:50"),
        ('format = "%d.%m.%Y %H:%M:%S"', '"05.06.2025 16:27:50"', "2025-06-05T16:27:50"),
        (f'format = "%d.%m.%Y %H:%M"\n{BERLIN}', '"05.06.2025 18:27"', "2025-06-05T16:27:00"),
        ('format = "%Y-%m-%dT%H:%M:%S%z"', '"2025-06-05T18:27:50+0200"', "2025-06-05T16:27:50"),
        ('format = "%y%m%d%H%M"', "2506051627", "2025-06-05T16:27:00"),
        ('format = "s"', '"1759163270"', "2025-09-29T16:27:50"),
        ('format = "ms"', "1759163270500", "2025-09-29T16:27:50.500000"),
        ('format = "us"', "1759163270500000", "2025-09-29T16:27:50.500000"),
        ('format = "ns"', "1759163270500000000", "2025-09-29T16:27:50.500000"),
        ("", '"Mon, 29 Sep 2025 18:27:50 +0200"', "2025-09-29T16:27:50"),
        ("", '"29 Sep 2025 16:27:50 GMT"', "2025-09-29T16:27:50"),
        ("", '"2025-09-29 18:27:50 Europe/Berlin"', "2025-09-29T16:27:50"),
        ("", '"2025-09-29 16:27:50 UTC"', "2025-09-29T16:27:50"),
        ("", '"2025-09-29 18:27:50+02:00 Europe/Berlin"', "2025-09-29T16:27:50"),
        ("", '"1759163270 Europe/Berlin"', "2025-09-29T16:27:50"),
        ("", '"29 Sep 2025 12:27:50 EDT"', "2025-09-29T16:27:50"),
        (BERLIN, '"Mon, 29 Sep 2025 16:27:50 -0000"', "2025-09-29T16:27:50"),
    ],
)
def test_a_time_is(keys: str, stated: str, expected: str, more: str, tmp_path: Path) -> None:
    found = parsed(tmp_path, keys, f'"timestamp":{stated}{more}')
    assert isinstance(found, Reading), found
    assert (found.timestamp, found.own_time) == (datetime.fromisoformat(expected), True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('"date":"2025-09-29","clock":"16:27:50"', "2025-09-29T16:27:50"),
        ('"date":"20250929","clock":"162750"', "2025-09-29T16:27:50"),
    ],
)
def test_a_time_may_have_two_parts(fields: str, expected: str, tmp_path: Path) -> None:
    found = parsed(tmp_path, 'field = ["date", "clock"]', fields)
    assert isinstance(found, Reading), found
    assert (found.own_time, found.timestamp) == (True, datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    ("fields", "claimed"),
    [
        ('"date":"2025-09-29"', "2025-09-29"),
        ('"date":"2025-09-29","clock":null', "2025-09-29"),
        ('"clock":"16:27:50"', "16:27:50"),
        ('"date":null,"clock":162750', "162750"),
        ('"date":null', None),
        ('"other":1', None),
    ],
)
def test_one_part_of_a_time_is_kept_as_it_was_stated(
    fields: str, claimed: str | None, tmp_path: Path
) -> None:
    found = parsed(tmp_path, 'field = ["date", "clock"]', fields)
    assert isinstance(found, Reading), found
    assert (found.own_time, found.device_timestamp) == (False, claimed)


def test_a_time_that_is_required_needs_both_parts(tmp_path: Path) -> None:
    keys = 'field = ["date", "clock"]\nrequired = true'
    found = parsed(tmp_path, keys, '"date":"2025-09-29"')
    assert isinstance(found, Rejection)
    assert found.reason == "missing_field"


@pytest.mark.parametrize(
    ("keys", "stated"),
    [
        ('format = "%d.%m.%Y %H:%M"', '"2025-09-29"'),
        ('format = "s"', '"soon"'),
        ("", '"Tue, 29 Sep 2025 18:27:50 CEST"'),
        ("", '"2025-09-29 16:27:50 Nowhere/Town"'),
        ("", '"Mon, 99 Sep 2025 18:27:50 +0200"'),
        (BERLIN, '"2025-09-29"'),
    ],
)
def test_a_time_that_cannot_be_read_is_kept_as_it_was_stated(
    keys: str, stated: str, tmp_path: Path
) -> None:
    found = parsed(tmp_path, keys, f'"timestamp":{stated}')
    assert isinstance(found, Reading), found
    assert (found.own_time, found.device_timestamp) == (False, stated.strip('"'))
    if stated != '"2025-09-29"' or keys != BERLIN:
        required = parsed(tmp_path, f"{keys}\nrequired = true", f'"timestamp":{stated}')
        assert isinstance(required, Rejection)
        assert required.text.startswith("timestamp: ")


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ('zone = "Berlin"', "timestamp.zone: expected a time zone such as Europe/Berlin"),
        *((f'zone = "{name}"', ABBREVIATED) for name in ("EST", "CET", "MST7MDT", "GMT+0", "GB")),
        (
            'format = "ms"\nzone = "Europe/Berlin"',
            "timestamp.zone: expected nothing, because a number in ms counts from 1970 in UTC",
        ),
        ('zone = "+25:00"', "timestamp.zone: expected a time zone such as Europe/Berlin"),
        ('format = "%H:%M"', "timestamp.format: expected s, ms, us, ns, or a format of strptime"),
        ('format = "%d.%m. %H:%M"', "timestamp.format: expected s, ms, us, ns, or a format"),
        (
            'format = "%d.%m.%Y"',
            "timestamp.format: expected s, ms, us, ns, or a format of strptime",
        ),
        ('format = "%d.%m.%Y %H:%M %Z"', "timestamp.format: expected no %Z"),
        ('format = "%Q"', "timestamp.format: expected s, ms, us, ns, or a format of strptime"),
        ('field = ["a"]', "timestamp.field: "),
        ('field = "a..b"', "timestamp.field: expected names and indexes"),
    ],
)
def test_a_wrong_zone_or_format_is_an_error(keys: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('topic = "good/{device_id}"\n[metrics.t]\n')
    text = f'topic = "x/{{device_id}}"\n[timestamp]\n{keys}\n[metrics.m]\n'
    (tmp_path / "x.toml").write_text(text)
    told = load(tmp_path, {}, DEVICE_TOPICS).unusable["x"]
    assert told.removeprefix(f"{tmp_path}/x.toml: ").startswith(error)


def test_a_date_with_a_zone_is_no_time(tmp_path: Path) -> None:
    found = parsed(tmp_path, "", '"timestamp":"2025-09-29 Europe/Berlin"')
    assert isinstance(found, Reading), found
    assert (found.own_time, found.device_timestamp) == (False, "2025-09-29 Europe/Berlin")


def test_a_long_text_is_no_time(tmp_path: Path) -> None:
    found = parsed(tmp_path, "", f'"timestamp":"{"1 " * 60}"')
    assert isinstance(found, Reading), found
    assert (found.own_time, found.device_timestamp) == (False, "1 " * 32)
