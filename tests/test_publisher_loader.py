"""The file of the static publisher: read as a whole or not at all, and read again when it has changed."""

import contextlib
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.loader import DEFAULT_PATH, ConfigurationError, ConfigurationLoader
from tests.malformed import Malformed, as_file, good_entries, malformed, malformed_files, nested

DOCUMENTED = """\
[
  {
    "id": "unique_config_id",
    "topic": "mqtt/topic/name",
    "data": {
      "sensor_id": "SENSOR_001",
      "temperature": 25.5,
      "humidity": 60
    },
    "interval": 30,
    "qos": 1,
    "retain": false,
    "lwt": true,
    "created_at": "2025-09-29T16:27:50.000000",
    "updated_at": "2025-09-29T16:27:50.000000",
    "version": 1
  }
]
"""
ENTRY = '{"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}'
NOBODY = 65_534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the configuration will be."""
    return tmp_path / "configuration.json"


def loaded(file: Path, content: str | bytes) -> ConfigurationLoader:
    """A loader that has read this content."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    loader = ConfigurationLoader(file)
    loader.load_configurations()
    return loader


def refusal(file: Path) -> str:
    """Why a file cannot be read, without its path."""
    with pytest.raises(ConfigurationError) as caught:
        ConfigurationLoader(file).load_configurations()
    text = str(caught.value)
    assert text.isprintable()
    assert text.startswith(f"{file}: ")
    return text.removeprefix(f"{file}: ")


def faults(loader: ConfigurationLoader) -> list[str]:
    """The lines of its faults."""
    return [str(fault) for fault in loader.faults]


def outcome(file: Path) -> list[str]:
    """Why a file cannot be read, or the faults in it."""
    loader = ConfigurationLoader(file)
    try:
        loader.load_configurations()
    except ConfigurationError as error:
        return [str(error)]
    return faults(loader)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """For as long as it lasts not root, who may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_it_loads_the_documented_file(file: Path) -> None:
    loader = loaded(file, DOCUMENTED)
    [config] = loader.load_configurations()
    assert (config.id, config.topic, config.interval, config.qos) == ("unique_config_id", "mqtt/topic/name", 30.0, 1)
    assert json.loads(config.payload) == {"online": 1, "sensor_id": "SENSOR_001", "temperature": 25.5, "humidity": 60}
    assert loader.faults == []


def test_it_loads_four_entries_as_the_documented_test_does(file: Path) -> None:
    entry = DOCUMENTED[2:-3]
    file.write_text("[\n" + ",\n".join(entry.replace("unique_config_id", name) for name in "abcd") + "\n]\n")
    configs = ConfigurationLoader(str(file)).load_configurations()
    assert len(configs) == 4
    assert [config.id for config in configs] == ["a", "b", "c", "d"]


def test_without_a_path_it_is_the_documented_one(file: Path) -> None:
    assert Path("JSON/payloadStaticConfig.json") == DEFAULT_PATH == ConfigurationLoader().path
    DEFAULT_PATH.parent.mkdir()
    DEFAULT_PATH.write_text(DOCUMENTED)
    assert len(ConfigurationLoader().load_configurations()) == 1


def test_a_file_may_have_no_entries(file: Path) -> None:
    assert loaded(file, "[]").load_configurations() == []


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf[" + ENTRY.encode() + b"]",
        DOCUMENTED.replace("\n", "\r\n").encode(),
        DOCUMENTED.replace("\n", "").encode(),
        DOCUMENTED.replace("SENSOR", "Gerät 温度 😀").encode(),
        DOCUMENTED.replace("SENSOR", "\\u6e29\\ud83d\\ude00").encode(),
    ],
    ids=["a byte order mark", "lines of Windows", "a single line", "UTF-8", "escapes"],
)
def test_it_reads_what_editors_write(file: Path, content: bytes) -> None:
    loader = loaded(file, content)
    assert len(loader.load_configurations()) == 1
    assert loader.faults == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "is empty; write [] for no entries", id="nothing"),
        pytest.param(b" \n\t\n", "is empty; write [] for no entries", id="white space"),
        pytest.param(b"\xef\xbb\xbf", "is empty; write [] for no entries", id="a byte order mark"),
        pytest.param(b"{}", "must be a JSON array of entries, [ … ], not one object", id="an object"),
        pytest.param(b"17", "must be a JSON array of entries, [ … ], not a number", id="a number"),
        pytest.param(b"1.5", "must be a JSON array of entries, [ … ], not a number", id="a fraction"),
        pytest.param(b"null", "must be a JSON array of entries, [ … ], not null", id="null"),
        pytest.param(b"true", "must be a JSON array of entries, [ … ], not true or false", id="true"),
        pytest.param(b'"[]"', "must be a JSON array of entries, [ … ], not text", id="text"),
        pytest.param("[]".encode("utf-16"), "is UTF-16 or UTF-32; it must be UTF-8", id="UTF-16"),
        pytest.param("[]".encode("utf-16-le"), "is UTF-16 or UTF-32; it must be UTF-8", id="UTF-16 without a mark"),
        pytest.param("[]".encode("utf-32-be"), "is UTF-16 or UTF-32; it must be UTF-8", id="UTF-32"),
        pytest.param(
            f"[{nested(100_000)}]".encode(),
            "line 1, column 35: nested too deeply; an entry's data may be nested 32 deep",
            id="endless nesting",
        ),
        pytest.param(
            f'[\n{{"{"[" * 99}\\"]": [[]],\n"data": {{"a": {nested(100_000)}}}}}]'.encode(),
            "line 3, column 46: nested too deeply; an entry's data may be nested 32 deep",
            id="endless nesting behind brackets in text",
        ),
    ],
)
def test_it_refuses_a_file_that_is(file: Path, content: bytes, sentence: str) -> None:
    file.write_bytes(content)
    assert refusal(file) == sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x", "line 1, column 1: not JSON: invalid character"),
        ("[", "line 1, column 2: not JSON: it ends too early"),
        (f"[\n  {ENTRY},\n", "line 3, column 1: not JSON: it ends too early"),
        (f"[\n  {ENTRY}\n]\n]", "line 4, column 1: not JSON: trailing characters"),
        (f"[{ENTRY}] x", f"line 1, column {len(ENTRY) + 4}: not JSON: trailing characters"),
        (f"[\n  {ENTRY}\n  {ENTRY}\n]", "line 3, column 3: not JSON: expected ',' or ']'"),
        (f"[\r\n  {ENTRY},\r\n]", "line 3, column 1: not JSON: trailing comma in array"),
        ('[\n  {"id" "a"}\n]', "line 2, column 9: not JSON: expected ':'"),
        ('[\n  {"é温😀": 1 "b": 2}\n]', "line 2, column 13: not JSON: expected ',' or '}'"),
        ('[{\n"data": {"a": NaN}}]', "line 2, column 15: not JSON: invalid character"),
        ('[{"a": "\\ud800"}]', "line 1, column 15: not JSON: unexpected end of hex escape"),
        ('[{"a": "\\udc00 and more text"}]', "line 1, column 15: not JSON: invalid utf-16 surrogate pair"),
        ('[{"a": "one\ntwo"}]', "line 1, column 12: not JSON: invalid character"),
        ('[{"a": "温\\u00é"}]', "line 1, column 14: not JSON: invalid character in unicode escape"),
        ("\ufeff[\n1, x]", "line 2, column 4: not JSON: invalid character"),
    ],
)
def test_it_tells_the_line_and_the_column_of_what_is_no_json(file: Path, content: str, sentence: str) -> None:
    file.write_text(content, newline="")
    assert refusal(file) == sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'[{\n  "id": "Ger\xe4t"}]', "line 2, column 13: byte 0xe4 is not UTF-8; it must be UTF-8"),
        ("[\n'é".encode() + b"\xff]", "line 2, column 3: byte 0xff is not UTF-8; it must be UTF-8"),
        (b'["\xed\xa0\x80"]', "line 1, column 3: byte 0xed is not UTF-8; it must be UTF-8"),
    ],
)
def test_it_tells_the_line_and_the_column_of_what_is_not_utf_8(file: Path, content: bytes, sentence: str) -> None:
    file.write_bytes(content)
    assert refusal(file) == sentence


def test_it_refuses_a_path_where_nothing_is(file: Path) -> None:
    missing = "there is no such file; create it, with [] for no entries, or name another"
    assert refusal(file) == missing
    assert refusal(file.parent / "no folder" / "configuration.json") == missing


def test_it_refuses_what_is_no_file(file: Path) -> None:
    assert refusal(file.parent) == "must be a file; it is a folder or a device"
    os.mkfifo(file)
    assert refusal(file) == "must be a file; it is a folder or a device"


def test_it_refuses_a_file_that_it_may_not_read(file: Path) -> None:
    file.write_text(DOCUMENTED)
    file.chmod(0)
    with unprivileged():
        assert refusal(file) == "may not be read; give the publisher's user the permission to"


def test_it_refuses_a_path_that_cannot_be_one(file: Path) -> None:
    file.symlink_to(file)
    assert refusal(file) == "cannot be read: Too many levels of symbolic links"
    assert refusal(file.with_name("x" * 300)) == "cannot be read: File name too long"
    assert refusal(file / "b") == "cannot be read: Too many levels of symbolic links"


@pytest.mark.parametrize("name", ["a\nb.json", "a\0b.json"])
def test_a_strange_path_is_told_on_one_line(name: str) -> None:
    loader = ConfigurationLoader(name)
    with pytest.raises(ConfigurationError, match=r"^a\\u00(0a|00)b\.json: "):
        loader.load_configurations()
    assert not loader.changed()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        pytest.param(
            '{"id": "b", "topic": "t", "data": {"a":\n 1e999}, "interval": 1}',
            ['(id "b"): data = {"a": 1e999}: must be a JSON object, nested at most 32 deep, without numbers out of'],
            id="a number out of range",
        ),
        pytest.param(
            f'{{"id": "b", "topic": "t", "data": {{"a": {"1" * 5_000}}}, "interval": 1e999}}',
            ['(id "b"): data = {"a": 111', '(id "b"): interval = 1e999: must be a number of seconds from 0.001 to'],
            id="a number of 5,000 digits",
        ),
        pytest.param(
            f'{{"id": "b", "topic": "t", "data": {{"a": {nested(32)}}}, "interval": 1}}',
            ['(id "b"): data = {"a": [[['],
            id="data nested 33 deep",
        ),
        pytest.param(
            f'{{"id": "b", "topic": "t", "data": {{"a": {nested(400)}}}, "interval": 1e999}}',
            ['(id "b"): data = {"a": [[[', '(id "b"): interval = 1e999: '],
            id="data nested 401 deep",
        ),
        pytest.param(
            '{"id": "b", "topic": "t", "interval": 1, "data": {}, "interval": 60, "id": "b", "x": 1, "x": 2}',
            [
                ': id = "b": must stand only once in an entry',
                ": interval = 60: must stand only once in an entry",
                ": x = 2: there is no such field",
            ],
            id="fields that stand twice",
        ),
        pytest.param(
            '{"id": "b", "topic": "t", "interval": 1, "data": {"c": [{"a b": 1, "a b": 2}]}}',
            ['(id "b"): data = {"c": [{"a b": 1, "a b": 2}]}: must not have the key "a b" twice in one object'],
            id="a key of the data that stands twice",
        ),
        pytest.param(
            '{"id": "b", "topic": "t", "interval": 1, "data": {"a\\n": 1, "a\\n": 2}}',
            ['must not have the key "a\\u000a" twice in one object'],
            id="a strange key of the data that stands twice",
        ),
        pytest.param("1e999", [" = 1e999: must be a JSON object with id, topic, data and interval"], id="1e999"),
        pytest.param("[1e999]", [" = [1e999]: must be a JSON object with id"], id="an array that no value holds"),
        pytest.param('[{"a": 1, "a": 2}]', [' = [{"a": 1, "a": 2}]: must be a JSON object'], id="an array"),
    ],
)
def test_an_entry_that_no_value_holds_does_not_stop_the_others(file: Path, entry: str, told: list[str]) -> None:
    last = ENTRY.replace('"a"', '"c"')
    loader = loaded(file, f"[{ENTRY}, {entry}, {last}]")
    assert [config.id for config in loader.load_configurations()] == ["a", "c"]
    lines = faults(loader)
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert line.startswith("entry 1")
        assert part in line
        assert line.isprintable()


def test_data_of_every_depth_is_told(file: Path) -> None:
    for depth in range(32, 1_200, 3):
        deep = f'{{"id": "b", "topic": "t", "interval": 1, "data": {{"a": {nested(depth)}}}}}'
        file.write_text(f"[{deep}, {ENTRY}]")
        [line] = outcome(file)
        assert "nested" in line, depth


def test_the_faults_are_those_of_the_last_load_that_succeeded(file: Path) -> None:
    loader = loaded(file, f"[{ENTRY}, {ENTRY}]")
    assert faults(loader) == ['entry 1 (id "a"): id = "a": must be unique in the file, and entry 0 has it already']
    file.write_text("[")
    with pytest.raises(ConfigurationError):
        loader.load_configurations()
    assert len(loader.faults) == 1
    file.write_text("[]")
    loader.load_configurations()
    assert loader.faults == []


def test_an_unchanged_file_is_not_read_again(file: Path) -> None:
    loader = loaded(file, DOCUMENTED)
    first = loader.load_configurations()
    assert loader.load_configurations() is first
    file.write_text(DOCUMENTED + "\n")
    second = loader.load_configurations()
    assert second is not first
    assert second == first


def test_it_tells_whether_the_file_has_changed(file: Path) -> None:
    loader = ConfigurationLoader(file)
    assert loader.changed()
    file.write_text(DOCUMENTED)
    loader.load_configurations()
    assert not loader.changed()
    file.write_text(DOCUMENTED.replace("30", "3"))
    assert loader.changed()
    assert loader.load_configurations()[0].interval == 3.0
    assert not loader.changed()


def test_it_sees_a_change_that_keeps_the_size_and_the_time(file: Path) -> None:
    loader = loaded(file, DOCUMENTED)
    before = file.stat()
    other = file.with_name("other.json")
    other.write_text(DOCUMENTED.replace("30", "31"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert loader.changed()
    assert loader.load_configurations()[0].interval == 31.0


def test_it_sees_a_change_whose_time_was_set_back(file: Path) -> None:
    loader = loaded(file, DOCUMENTED)
    before = file.stat()
    file.write_text(DOCUMENTED.replace("30", "31"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_ino) == (before.st_size, before.st_ino)
    assert loader.changed()


def test_it_sees_a_file_that_goes_and_comes(file: Path) -> None:
    loader = loaded(file, DOCUMENTED)
    file.unlink()
    assert loader.changed()
    with pytest.raises(ConfigurationError, match="there is no such file"):
        loader.load_configurations()
    assert not loader.changed()
    file.write_text(DOCUMENTED)
    assert loader.changed()
    assert len(loader.load_configurations()) == 1


def test_a_file_that_could_not_be_read_is_changed_when_it_is_mended(file: Path) -> None:
    loader = loaded(file, DOCUMENTED)
    file.write_text(DOCUMENTED[:-3])
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="line 17, column 4: not JSON: it ends"):
            loader.load_configurations()
        assert not loader.changed()
    file.write_text(DOCUMENTED)
    assert loader.changed()
    assert len(loader.load_configurations()) == 1


def test_a_file_that_may_be_read_again_has_changed(file: Path) -> None:
    loader = ConfigurationLoader(file)
    file.write_text(DOCUMENTED)
    file.chmod(0)
    file.parent.chmod(0o755)
    with unprivileged(), pytest.raises(ConfigurationError):
        loader.load_configurations()
    file.chmod(0o644)
    assert loader.changed()


def test_ten_thousand_entries_are_accepted_and_take_little_memory(file: Path) -> None:
    entry = json.loads(DOCUMENTED)[0]
    entries = [entry | {"id": f"sensor_{number}", "topic": f"plant/line/{number}"} for number in range(10_000)]
    file.write_text(json.dumps(entries, indent=2))
    loader = ConfigurationLoader(file)
    tracemalloc.start()
    assert len(loader.load_configurations()) == 10_000
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 10_000 * 1_200
    assert most < 10_000 * 2_000


MALFORMED = list(malformed(seed=5, count=400))


def test_the_files_of_a_seed_are_always_the_same_and_hardly_any_is_there_twice() -> None:
    contents = list(malformed_files(5, 400))
    assert contents == [case.content for case in MALFORMED]
    assert len(set(contents)) > 300


@pytest.mark.parametrize("case", MALFORMED[1::2], ids=[f"{n}: {case.how}" for n, case in enumerate(MALFORMED[1::2])])
def test_a_malformed_file_is_refused_in_one_line(file: Path, case: Malformed) -> None:
    file.write_bytes(case.content)
    assert refusal(file)


@pytest.mark.parametrize("case", MALFORMED[::2], ids=[f"{n}: {case.how!a}" for n, case in enumerate(MALFORMED[::2])])
def test_a_malformed_entry_is_told_and_the_others_load(file: Path, case: Malformed) -> None:
    good = loaded(file, as_file(good_entries())).load_configurations()
    assert len(good) == 8
    loader = loaded(file, case.content)
    assert loader.load_configurations() == [config for place, config in enumerate(good) if place != case.touched]
    assert {fault.index for fault in loader.faults} == {case.touched}
    for fault, line in zip(loader.faults, faults(loader), strict=True):
        assert line.startswith(f"entry {case.touched}")
        assert line.isprintable()
        assert fault.field is None or f"{fault.field} " in line
        assert fault.value is None or f"= {fault.value}: " in line
        assert line.endswith(fault.allowed)
        assert fault.allowed


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_whatever_the_bytes_a_file_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = as_file(good_entries()).encode()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 60)))
    file = tmp_path_factory.getbasetemp() / "bytes.json"
    file.write_bytes(good[:start] + data.draw(st.binary(max_size=30)) + good[end:])
    assert "".join(outcome(file)).isprintable()
