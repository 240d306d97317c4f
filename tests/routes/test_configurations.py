"""`/api/publisher/configs`: the entries of the static publisher's file over REST."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api import Api
from tests.configurations import BOILER, BROKEN, CONFIGS, PUMP, ask, entries
from utils.text import printable

pytestmark = [pytest.mark.broker, pytest.mark.database]


# Reading the configurations


def test_all_entries_are_told_as_they_stand_in_the_file_with_the_faults(
    publisher: Api, file: Path
) -> None:
    assert publisher.get(CONFIGS) == {"count": 2, "data": [BOILER, PUMP], "faults": []}
    strange = [BOILER, {"id": "c", "topic": "a/#", "colour": "red"}, 5]
    file.write_text(json.dumps(strange))
    answer = publisher.get(CONFIGS)
    assert (answer["count"], answer["data"]) == (3, strange)
    assert [fault.split(":")[0] for fault in answer["faults"]] == ['entry 1 (id "c")'] * 4 + [
        "entry 2"
    ]


def test_one_entry_is_told_by_its_id(publisher: Api) -> None:
    assert publisher.get(f"{CONFIGS}/boiler") == BOILER
    assert publisher.get(f"{CONFIGS}/pump%201") == PUMP


@pytest.mark.parametrize("name", ["nobody", "Boiler", "boiler%0A", "%22", "x" * 500])
def test_an_id_that_is_not_there_is_404(publisher: Api, name: str) -> None:
    message = publisher.get(f"{CONFIGS}/{name}", expect=404)["message"]
    assert "There is no configuration" in message
    assert message.isprintable()
    ask(publisher, "PUT", f"{CONFIGS}/{name}", BOILER | {"id": "a", "version": 1}, 400)
    if name == "nobody":
        ask(publisher, "PUT", f"{CONFIGS}/{name}", BOILER | {"id": name, "version": 1}, 404)
    ask(publisher, "DELETE", f"{CONFIGS}/{name}", expect=404)


# Adding


def test_a_new_entry_is_201_and_in_the_file(publisher: Api, file: Path) -> None:
    new = {
        "id": "Kessel ü.2",
        "topic": "plant/new",
        "data": {"z": 1, "a": [None]},
        "interval": 1,
        "qos": 2,
    }
    added = ask(publisher, "POST", CONFIGS, new, 201)
    assert added == new | {name: added[name] for name in ("created_at", "updated_at")} | {
        "version": 1
    }
    assert entries(file) == [BOILER, PUMP, added]
    assert publisher.get(f"{CONFIGS}/Kessel%20%C3%BC.2") == added


def test_an_id_that_is_there_already_is_409(publisher: Api, file: Path) -> None:
    assert '"boiler" already' in ask(publisher, "POST", CONFIGS, BOILER, 409)["message"]
    assert entries(file) == [BOILER, PUMP]


def with_(**fields: str) -> str:
    """An entry `c` as text, where a value may be what no JSON decoder gives."""
    plain = {"id": '"c"', "topic": '"t"', "data": "{}", "interval": "1"}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in (plain | fields).items()) + "}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (with_(interval='"fast"'), 'interval = "fast": must be a number'),
        (with_(colour='"red"'), "unknown field; allowed are"),
        (with_(data=f'{{"t": "{"x" * 70_000}"}}', lwt="true"), "as a last will"),
        (with_(data='{"t": [{"u": -1e999}]}'), "data.t.0: -1e999 is beyond the largest number"),
        (with_(data='{"t": 1e-400}'), "data.t: 1e-400 would become 0.0; use"),
        (
            with_(data='{"t": 9007199254740993.0}'),
            "data.t: 9007199254740993.0 would become 9007199254740992.0, which is another number",
        ),
        (with_(data='{"t": "a \\udc00 b"}'), "lone surrogates"),
        (with_(interval="-1e999"), "interval = -1e999: must be"),
        (with_(data='{"t": 1, "t": 2}'), "without duplicate keys"),
        (with_(qos='1, "qos": 2'), "qos = 2: must appear only once in an entry"),
        (with_(id='"c", "id": "d"'), 'id = "d": must appear only once in an entry'),
        (with_(version='1, "version": 1'), "version = 1: must appear only once"),
        (with_(created_at='null, "created_at": ""'), "must appear only once"),
        (with_(data=f'{{"t": {"[" * 40}{"]" * 40}}}'), "nested at most 32 deep"),
        ("1e999", "1e999: must be a JSON object"),
    ],
)
def test_a_bad_entry_is_400_in_the_words_that_the_file_has(
    publisher: Api, file: Path, body: str, said: str
) -> None:
    message = publisher.post(CONFIGS, body, 400)["message"]
    assert said in message
    assert entries(file) == [BOILER, PUMP]
    file.write_text(f"[{body}]")
    (fault,) = publisher.get(CONFIGS)["faults"]
    assert fault.endswith(f": {message}")


def test_all_that_cannot_be_read_of_a_replacement_is_told(publisher: Api, file: Path) -> None:
    body = with_(
        id='"boiler", "id": "boiler"', data='{"t": 1e999}', interval="0", version='1, "version": 2'
    )
    answer = publisher.client.put(f"{CONFIGS}/boiler", data=body, content_type="application/json")
    assert answer.status_code == 400
    told = json.loads(answer.text)["message"].split("; ")
    named = {
        re.split("(?: =|:) ", sentence)[0]
        for sentence in told
        if "data" in sentence or "=" in sentence
    }
    assert named == {"data.t", "id", "interval", "version"}
    assert entries(file) == [BOILER, PUMP]


def test_every_fault_of_a_bad_entry_is_told(publisher: Api) -> None:
    message = ask(
        publisher, "POST", CONFIGS, {"id": "c", "topic": "#", "qos": 9, "colour": "red"}, 400
    )["message"]
    assert [told.split()[0] for told in message.split("; ") if "=" in told or "missing" in told] == [
        "topic", "data", "interval", "qos", "colour",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "body", "status", "said"),
    [
        ("application/json", "{", 400, "not JSON"),
        ("application/json", '{"id": NaN}', 400, "not JSON"),
        (
            "application/json",
            '{"id": "\ud800"}'.encode(errors="surrogatepass"),
            400,
            "byte 0xed is not UTF-8",
        ),
        ("application/json", "{}".encode("utf-16"), 400, "UTF-16"),
        (
            "application/json",
            '{"data": {},\n "id": "a" "b"}',
            400,
            "line 2, column 12: not JSON: Expecting ','",
        ),
        ("application/json", "[" * 100_000, 400, "nested too deeply"),
        ("application/json", "[]", 400, "JSON object"),
        ("application/json", '"boiler"', 400, "JSON object"),
        ("application/json", "null", 400, "JSON object"),
        ("application/json", "x" * 1_000_001, 413, "1000000"),
        ("text/plain", "{}", 415, "application/json"),
        ("application/json", "", 400, "not JSON"),
        (None, "", 415, "application/json"),
        (None, "{}", 415, "application/json"),
    ],
)
def test_a_body_that_is_no_entry_is_told(
    publisher: Api, file: Path, content_type: str | None, body: str | bytes, status: int, said: str
) -> None:
    for method, path in (("POST", CONFIGS), ("PUT", f"{CONFIGS}/boiler")):
        answer = publisher.client.open(path, method=method, data=body, content_type=content_type)
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
        assert said in json.loads(answer.text)["message"]
    assert entries(file) == [BOILER, PUMP]


# Replacing and removing


def test_what_was_read_can_be_changed_and_put_back(publisher: Api, file: Path) -> None:
    read = publisher.get(f"{CONFIGS}/pump%201")
    put = ask(publisher, "PUT", f"{CONFIGS}/pump%201", read | {"interval": 2})
    assert put == PUMP | {"interval": 2, "version": 8, "updated_at": put["updated_at"]}
    again = ask(publisher, "PUT", f"{CONFIGS}/pump%201", put | {"interval": 3})
    assert (again["version"], again["interval"]) == (9, 3)
    assert entries(file) == [BOILER, again]


def test_a_version_that_was_overtaken_is_409_with_the_one_it_has_now(
    publisher: Api, file: Path
) -> None:
    ask(publisher, "PUT", f"{CONFIGS}/boiler", BOILER | {"version": 1})
    before = file.read_bytes()
    assert (
        "has version 2 now, not 1"
        in ask(publisher, "PUT", f"{CONFIGS}/boiler", BOILER | {"version": 1}, 409)["message"]
    )
    assert (
        "has version 2 now"
        in ask(publisher, "DELETE", f"{CONFIGS}/boiler", expect=409, version=1)["message"]
    )
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "version is missing: must be the version that was read"),
        ({"version": 1.0}, "version = 1.0: must be a whole number"),
        ({"version": 1, "id": "pump 1"}, 'id = "pump 1": must be "boiler"'),
        ({"version": 1, "interval": "fast"}, 'interval = "fast": must be'),
    ],
)
def test_a_bad_replacement_is_400(
    publisher: Api, file: Path, change: dict[str, Any], said: str
) -> None:
    assert said in ask(publisher, "PUT", f"{CONFIGS}/boiler", BOILER | change, 400)["message"]
    assert entries(file) == [BOILER, PUMP]


def test_a_removed_entry_is_the_answer_and_gone(publisher: Api, file: Path) -> None:
    assert ask(publisher, "DELETE", f"{CONFIGS}/boiler") == BOILER
    assert ask(publisher, "DELETE", f"{CONFIGS}/pump%201", version=7) == PUMP
    assert entries(file) == []
    assert publisher.get(CONFIGS) == {"count": 0, "data": [], "faults": []}
    ask(publisher, "DELETE", f"{CONFIGS}/boiler", expect=404)


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.5", ""])
def test_a_version_to_remove_that_is_none_is_400(publisher: Api, file: Path, version: str) -> None:
    assert (
        "version"
        in ask(publisher, "DELETE", f"{CONFIGS}/boiler", expect=400, version=version)["message"]
    )
    assert entries(file) == [BOILER, PUMP]


@pytest.mark.parametrize("name", ["versoin", "Version", "x\n"])
def test_a_misspelt_parameter_removes_nothing_and_is_400_with_what_there_is(
    publisher: Api, file: Path, name: str
) -> None:
    for more in ({}, {"version": 1}):
        message = ask(publisher, "DELETE", f"{CONFIGS}/boiler", expect=400, **{name: 1}, **more)[
            "message"
        ]
        assert message == f"{printable(name)}: there is no such parameter; known: version"
        assert entries(file) == [BOILER, PUMP]


# A file that cannot be used


def test_a_file_that_cannot_be_read_is_told_and_never_overwritten(
    publisher: Api, file: Path
) -> None:
    file.write_text(BROKEN)
    for path in (CONFIGS, f"{CONFIGS}/boiler"):
        assert "publisher.json" in publisher.get(path, expect=503)["message"]
    body = BOILER | {"version": 1}
    for method, path in (
        ("PUT", f"{CONFIGS}/boiler"),
        ("POST", CONFIGS),
        ("DELETE", f"{CONFIGS}/boiler"),
    ):
        message = ask(publisher, method, path, None if method == "DELETE" else body, 409)["message"]
        assert "mend the file first" in message
    assert file.read_text() == BROKEN
    assert publisher.get("/mqtt/status")["running"] is False


def test_a_file_that_cannot_be_written_is_503(publisher: Api, file: Path) -> None:
    (file.parent / "publisher.json.edit.lock").mkdir()
    for method, path, body in (
        ("POST", CONFIGS, BOILER | {"id": "c"}),
        ("PUT", f"{CONFIGS}/boiler", BOILER | {"version": 1}),
        ("DELETE", f"{CONFIGS}/boiler", None),
    ):
        assert "folder must be writable" in ask(publisher, method, path, body, 503)["message"]
    assert entries(file) == [BOILER, PUMP]
