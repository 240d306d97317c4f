"""The file of the static publisher is read as a whole or not at all, and again after a change."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.entries import read
from publisher.loader import ConfigurationError, ConfigurationLoader
from tests.malformed import as_file, good_entries, malformed, nested
from tests.publishing import DOCUMENTED
from tests.support import EXAMPLES

ENTRY = '{"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}'
NOBODY = 65_534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a file that does not exist yet."""
    return tmp_path / "configuration.json"


def loaded(file: Path, content: str | bytes) -> ConfigurationLoader:
    """A loader that has read this content."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    loader = ConfigurationLoader(file)
    loader.load_configurations()
    return loader


def refusal(file: Path) -> str:
    """Why a file cannot be read; the message without its path."""
    with pytest.raises(ConfigurationError) as caught:
        ConfigurationLoader(file).load_configurations()
    text = str(caught.value)
    assert text.isprintable()
    assert text.startswith(f"{file}: ")
    return text.removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("[", "\ufeff["),
        ("\n", "\r\n"),
        ("\n", ""),
        ("SENSOR", "Gerät 温度 😀"),
        ("SENSOR", "\\u6e29\\ud83d\\ude00"),
    ],
    ids=["as documented", "a byte order mark", "Windows", "a single line", "UTF-8", "escapes"],
)
def test_it_reads_what_editors_write(file: Path, before: str, after: str) -> None:
    content = DOCUMENTED.replace(before, after)
    loader = loaded(file, content)
    assert loader.load_configurations() == read(json.loads(content.removeprefix("\ufeff")))[0]
    assert len(loader.load_configurations()) == 1
    assert loader.faults == []


EMPTY = "is empty; write [] for no entries"
NO_ARRAY = "must be a JSON array of entries, [ … ]"
WIDE = "is UTF-16 or UTF-32; it must be UTF-8"
NESTED = "is nested too deeply; an entry's data may be nested 32 deep"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        *((content, EMPTY) for content in (b"", b" \n\t\n", b"\xef\xbb\xbf")),
        *((content, NO_ARRAY) for content in (b"{}", b"1.5", b"null", b'"[]"')),
        *(("[]".encode(code), WIDE) for code in ("utf-16", "utf-16-le", "utf-32-be")),
        (b'[{\n  "id": "Ger\xe4t"}]', "line 2: byte 0xe4 is not UTF-8; it must be UTF-8"),
        (b'["\xed\xa0\x80"]', "line 1: byte 0xed is not UTF-8; it must be UTF-8"),
        (f"[{nested(100_000)}]".encode(), NESTED),
        (b"x", "line 1, column 1: not JSON: Expecting value"),
        (b"[", "line 1, column 2: not JSON: Expecting value"),
        (f"[\n  {ENTRY},\n".encode(), "line 3, column 1: not JSON: Expecting value"),
        (f"[\n  {ENTRY}\n]\n]".encode(), "line 4, column 1: not JSON: Extra data"),
        (f"[\n  {ENTRY}\n  {ENTRY}\n]".encode(), "line 3, column 3: not JSON: Expecting ',' delimiter"),
        (f"[\n  {ENTRY}".encode(), f"line 2, column {len(ENTRY) + 3}: not JSON: Expecting ',' delimiter"),
        (f"[\r\n  {ENTRY},\r\n]".encode(), "line 3, column 1: not JSON: Expecting value"),
        (b'[\n  {"id" "a"}\n]', "line 2, column 9: not JSON: Expecting ':' delimiter"),
        ('[\n  {"é温😀": 1 "b": 2}\n]'.encode(), "line 2, column 13: not JSON: Expecting ',' delimiter"),
        (b'[{\n"data": {"a": NaN}}]', "has NaN, which is not JSON"),
        (b'[{"a": "one\ntwo"}]', "line 1, column 12: not JSON: Invalid control character at"),
        (b"\xef\xbb\xbf[\n1, x]", "line 2, column 4: not JSON: Expecting value"),
    ],
)  # fmt: skip
def test_what_it_cannot_read_is_refused_and_located(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    assert refusal(file) == told


def test_it_refuses_a_path_that_leads_to_no_file(file: Path) -> None:
    missing = "there is no such file; create it, with [] for no entries, or name another"
    no_file = "must be a file; it is a folder or a device"
    assert refusal(file) == missing
    assert refusal(file.parent / "no folder" / "configuration.json") == missing
    assert refusal(file.parent) == no_file
    assert refusal(file.with_name("x" * 300)) == "cannot be read: File name too long"
    os.mkfifo(file)
    assert refusal(file) == no_file
    file.unlink()
    file.symlink_to(file)
    assert refusal(file) == "cannot be read: Too many levels of symbolic links"


def test_it_refuses_a_file_that_it_may_not_read_until_it_may(file: Path) -> None:
    file.write_text(DOCUMENTED)
    file.chmod(0)
    file.parent.chmod(0o755)
    loader = ConfigurationLoader(file)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(NOBODY)
    try:
        assert refusal(file).startswith("cannot be read: permission denied; give the")
        with pytest.raises(ConfigurationError):
            loader.load_configurations()
    finally:
        os.seteuid(user)
    file.chmod(0o644)
    assert loader.changed()


@pytest.mark.parametrize("name", ["a\nb.json", "a\0b.json"])
def test_a_strange_path_is_shown_on_one_line(name: str) -> None:
    loader = ConfigurationLoader(name)
    with pytest.raises(ConfigurationError, match=r"^a\\u00(0a|00)b\.json: "):
        loader.load_configurations()
    assert not loader.changed()


INFINITE = "without duplicate keys, numbers out of range"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('{"id": "b", "topic": "t", "data": {"a":\n 1e999}, "interval": 1}',
         ['(id "b"): data.a: 1e999 is beyond the largest number, 1.7976931348623157e+308; use']),
        (f'{{"id": "b", "topic": "t", "data": {{"a": {"1" * 5_000}}}, "interval": 1e999}}',
         ['(id "b"): interval = 1e999: must be a number',
          f'(id "b"): data.a: {"1" * 60}… has 5000 digits; at most 1000 are allowed']),
        (f'{{"id": "b", "topic": "t", "data": {{"a": {nested(400)}}}, "interval": 1e999}}',
         ['(id "b"): interval = 1e999: ', '(id "b"): data = {"a": [[[']),
        ('{"id": "b", "topic": "t", "interval": 1, "data": {}, "interval": 60, "id": "b", "x": 1, "x": 2}',
         [': id = "b": must appear only once in an entry',
          ": interval = 60: must appear only once in an entry", ": x = 2: unknown field"]),
        ('{"id": "b", "topic": "t", "interval": 1, "data": {"c": [{"a b": 1, "a b": 2}]}}',
         ['(id "b"): data = {"c": [{"a b": 2}]}: must be a JSON object']),
        ('{"id": "b", "topic": "t", "interval": 1, "data": {"a\\n": 1, "a\\n": 2}}', [INFINITE]),
        ('{"id": "b", "topic": "t", "interval": 1, "data": {"a": "\\ud800"}}', ["lone surrogates"]),
        (f'{{"id": "b", "topic": "t", "interval": 1, "data": {{"a": [{"1e999," * 99}0]}}}}',
         [f'(id "b"): data.a.{index}: 1e999 is beyond' for index in range(5)]),
        ("1e999", [": 1e999: must be a JSON object with id, topic, data and interval"]),
        ('[{"a": 1, "a": 2}]', [': [{"a": 2}]: must be a JSON object']),
    ],
)  # fmt: skip
def test_an_impossible_entry_does_not_stop_others(file: Path, entry: str, told: list[str]) -> None:
    last = ENTRY.replace('"a"', '"c"')
    loader = loaded(file, f"[{ENTRY}, {entry}, {last}]")
    assert [config.id for config in loader.load_configurations()] == ["a", "c"]
    assert len(loader.faults) == len(told)
    for line, part in zip(loader.faults, told, strict=True):
        assert line.startswith("entry 1")
        assert part in line
        assert line.isprintable()


def test_the_faults_are_those_of_the_last_load_that_succeeded(file: Path) -> None:
    loader = loaded(file, f"[{ENTRY}, {ENTRY}]")
    file.write_text("[")
    with pytest.raises(ConfigurationError):
        loader.load_configurations()
    assert len(loader.faults) == 1
    file.write_text("[]")
    loader.load_configurations()
    assert loader.faults == []


@pytest.mark.parametrize(
    ("in_place", "interval", "keeps_time"),
    [(True, "3", False), (True, "31", True), (False, "31", True)],
    ids=["content", "content with its time set back", "replaced with the same size and time"],
)
def test_it_reads_the_file_again_only_after_a_change(
    file: Path, in_place: bool, interval: str, keeps_time: bool
) -> None:
    loader = loaded(file, DOCUMENTED)
    before = file.stat()
    assert loader.load_configurations() is loader.load_configurations()
    assert not loader.changed()
    new = file if in_place else file.with_name("other.json")
    new.write_text(DOCUMENTED.replace("30", interval))
    if keeps_time:
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(file)
    assert loader.changed()
    assert loader.load_configurations()[0].interval == float(interval)
    assert not loader.changed()


@pytest.mark.long
def test_ten_thousand_entries_are_accepted_and_take_little_memory(file: Path) -> None:
    entry = json.loads(DOCUMENTED)[0]
    each = [{"id": f"sensor_{n}", "topic": f"plant/line/{n}"} for n in range(10_000)]
    file.write_text(json.dumps([entry | own for own in each], indent=2))
    loader = ConfigurationLoader(file)
    tracemalloc.start()
    assert len(loader.load_configurations()) == 10_000
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 10_000 * 1_200
    assert most < 10_000 * 2_000


def test_a_malformed_file_is_refused_and_a_malformed_entry_is_a_fault(file: Path) -> None:
    good = loaded(file, as_file(good_entries())).load_configurations()
    assert len(good) == 8
    for case in malformed(seed=5, count=400):
        file.write_bytes(case.content)
        if case.touched is None:
            assert refusal(file), case
            continue
        loader = ConfigurationLoader(file)
        others = [config for place, config in enumerate(good) if place != case.touched]
        assert loader.load_configurations() == others, case
        assert loader.faults, case
        for line in loader.faults:
            assert line.startswith(f"entry {case.touched}"), case
            assert line.isprintable()


@settings(deadline=None, max_examples=3 * EXAMPLES)
@given(data=st.data())
def test_whatever_the_bytes_a_file_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = as_file(good_entries()).encode()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 60)))
    file = tmp_path_factory.getbasetemp() / "bytes.json"
    file.write_bytes(good[:start] + data.draw(st.binary(max_size=30)) + good[end:])
    loader, told = ConfigurationLoader(file), ""
    try:
        loader.load_configurations()
    except ConfigurationError as error:
        told = str(error)
    assert "".join([told, *loader.faults]).isprintable()
