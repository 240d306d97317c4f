"""Changes to the static publisher's file: whole or not at all, one at a time, and nothing beside the one entry."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from filelock import FileLock

from publisher.entries import MAX_VERSION
from publisher.loader import ConfigurationError
from services.configurations import (
    BadEntry,
    ConfigurationEditor,
    Conflict,
    NoSuchEntry,
    NotWritable,
)
from tests.support import PROJECT
from utils import clock

CREATED = "2025-09-29T16:27:50.000000"
STRANGE = r"""[
  {"topic": "plant/boiler", "id": "boiler", "data": {"t": 1.10, "e": 1E2, "big": 123456789012345678901234567890},
   "interval": 30, "version": 7, "created_at": "2025-09-29T16:27:50.000000", "note": "of another program"},
  {"id": "caf\u00e9 é \/", "topic": "a/b", "data": {"x": 1, "x": 2}, "interval": "fast", "qos": 9},
  5,
  null,
  {"id": "boiler", "topic": "twice", "data": {}, "interval": 1},
  {"id": "last", "topic": "plant/last", "data": {}, "interval": 0.5}
]"""
WRITER = """
import sys
from pathlib import Path
from services.configurations import ConfigurationEditor

editor = ConfigurationEditor(Path(sys.argv[1]))
while True:
    entry = editor.entry("a")
    print(editor.replace("a", entry | {"data": {"text": "x" * (entry["version"] % 1000)}})["version"], flush=True)
"""
ADDER = """
import sys
from pathlib import Path
from services.configurations import ConfigurationEditor

editor = ConfigurationEditor(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    editor.add({"id": f"{sys.argv[2]}-{number}", "topic": "t", "data": {}, "interval": 1})
"""
RIVAL = """
import sys
from pathlib import Path
from services.configurations import ConfigurationEditor, Conflict

editor = ConfigurationEditor(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for version in range(1, 41):
    while (entry := editor.entry("a"))["version"] < version:
        pass
    try:
        editor.replace("a", entry | {"data": {"by": sys.argv[2]}, "version": version})
        print(version)
    except Conflict:
        pass
"""
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from services.configurations import ConfigurationEditor, NotWritable

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    ConfigurationEditor(Path(sys.argv[1])).replace(
        "a", {"topic": "t", "data": {"x": "x" * 5000}, "interval": 1, "version": 1}
    )
except NotWritable as error:
    print(error)
"""


def entry(name: str = "a", **changes: Any) -> dict[str, Any]:
    """An entry as the document shows it, with changes."""
    times = {"created_at": CREATED, "updated_at": CREATED, "version": 1}
    data = {"sensor_id": "SENSOR_001", "temperature": 25.5, "humidity": 60}
    flags = {"qos": 1, "retain": False, "lwt": True}
    return {
        "id": name,
        "topic": f"mqtt/{name}",
        "data": data,
        "interval": 30,
        **flags,
        **times,
        **changes,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the entries a and b, in a folder of its own."""
    path = tmp_path / "publisher" / "configs.json"
    path.parent.mkdir()
    path.write_text(json.dumps([entry("a"), entry("b")]))
    return path


@pytest.fixture
def editor(file: Path) -> ConfigurationEditor:
    return ConfigurationEditor(file)


def started(program: str, *arguments: object) -> "subprocess.Popen[str]":
    """A program that edits in a process of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def finished(process: "subprocess.Popen[str]") -> list[str]:
    """What a program has said that ended well."""
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return said.splitlines()


def race(program: str, file: Path) -> list[list[str]]:
    """What two processes of a program have said that began at the same moment."""
    processes = [started(program, file, name) for name in ("left", "right")]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [finished(process) for process in processes]


@contextmanager
def unchanged(file: Path) -> Iterator[None]:
    """Nothing in the folder of the file changes, but for the lock."""

    def found() -> dict[str, bytes]:
        return {
            path.name: path.read_bytes() for path in file.parent.iterdir() if path.suffix != ".lock"
        }

    before = found()
    yield
    assert found() == before


def just_now(time: str) -> bool:
    """Whether a time is written as the document does, and is that of this test."""
    moment = datetime.fromisoformat(time)
    return (
        time == moment.isoformat(timespec="microseconds")
        and abs((clock.now() - moment).total_seconds()) < 60
    )


# Reading


def test_it_tells_the_entries_as_they_stand_in_the_file_faulty_ones_too(
    file: Path, editor: ConfigurationEditor
) -> None:
    file.write_text(STRANGE)
    assert editor.entries() == json.loads(STRANGE)
    assert editor.entry("boiler") == json.loads(STRANGE)[0]
    assert list(editor.entry("boiler"))[:2] == ["topic", "id"]


def test_an_entry_that_is_no_json_value_is_told_as_text(
    file: Path, editor: ConfigurationEditor
) -> None:
    file.write_text(r'[{"id": "a", "topic": "\ud800"}, {"id": "b"}]')
    assert editor.entries() == [r'{"id": "a", "topic": "\ud800"}', {"id": "b"}]


@pytest.mark.parametrize("spelling", ["9007199254740993.0", "1e-400", "-1e999", "0.25", "1e22"])
def test_a_number_is_told_as_it_was_written(
    spelling: str, file: Path, editor: ConfigurationEditor
) -> None:
    text = f'[{{"id":"a","data":{{"a":{spelling}}}}}]'
    file.write_text(text)
    assert msgspec.json.encode(editor.entries()).decode() == text


def test_it_counts_what_can_be_published_and_tells_the_faults_of_the_rest(
    file: Path, editor: ConfigurationEditor
) -> None:
    assert editor.check() == (2, [])
    file.write_text(json.dumps([entry("a"), entry("b", interval="fast"), entry("c")]))
    count, (fault,) = editor.check()
    assert count == 2
    assert "interval" in fault
    assert "fast" in fault


def test_an_id_that_is_not_there_is_told(editor: ConfigurationEditor) -> None:
    with unchanged(editor.path):
        for ask in (editor.entry, editor.remove, lambda name: editor.replace(name, entry(name))):
            with pytest.raises(NoSuchEntry, match='no configuration "c"'):
                ask("c")


# Adding


def test_an_added_entry_stands_last_with_the_present_time_and_version_1(
    editor: ConfigurationEditor,
) -> None:
    added = editor.add({"id": "c", "topic": "t", "data": {"z": 1, "a": 2}, "interval": 0.5})
    assert editor.entries() == [entry("a"), entry("b"), added]
    assert list(added) == ["id", "topic", "data", "interval", "created_at", "updated_at", "version"]
    assert list(editor.entry("c")["data"]) == ["z", "a"]
    assert (added["version"], added["created_at"]) == (1, added["updated_at"])
    assert just_now(added["created_at"])


def test_times_and_version_of_an_added_entry_are_not_used(editor: ConfigurationEditor) -> None:
    added = editor.add(entry("c", version=9, created_at="long ago"))
    assert added["version"] == 1
    assert just_now(added["created_at"])


def test_an_id_is_added_once(editor: ConfigurationEditor) -> None:
    with unchanged(editor.path), pytest.raises(Conflict, match='"a" already'):
        editor.add(entry("a"))


def test_all_faults_of_a_bad_entry_are_told_with_what_is_allowed(
    editor: ConfigurationEditor,
) -> None:
    with unchanged(editor.path), pytest.raises(BadEntry) as refused:
        editor.add({"id": "c", "topic": "a/#", "interval": "fast", "qos": 3, "colour": "red"})
    told = str(refused.value)
    assert all(field in told for field in ("topic", "data", "interval", "qos", "colour"))
    assert "fast" in told
    assert "31536000" in told
    assert told.isprintable()
    assert "entry 0" not in told, "a single entry has no place"


@pytest.mark.parametrize("body", [None, 5, "a", [], [entry("c")]])
def test_what_is_no_object_is_no_entry(editor: ConfigurationEditor, body: Any) -> None:
    with unchanged(editor.path):
        for change in (editor.add, lambda body: editor.replace("a", body)):
            with pytest.raises(BadEntry, match="must be a JSON object"):
                change(body)


# Replacing


def test_a_replaced_entry_keeps_its_place_and_creation_and_has_the_next_version(
    editor: ConfigurationEditor,
) -> None:
    read = editor.entry("a")
    new = editor.replace(
        "a", {"version": 1} | read | {"interval": 5, "updated_at": "not used", "created_at": None}
    )
    assert editor.entries() == [new, entry("b")]
    assert new == entry("a", interval=5, version=2, updated_at=new["updated_at"])
    assert list(new) == list(read)
    assert just_now(new["updated_at"])


def test_the_id_may_be_left_out_of_a_replacement(editor: ConfigurationEditor) -> None:
    new = editor.replace("a", {"topic": "t", "data": {}, "interval": 1, "version": 1})
    assert (new["id"], new["topic"], new["version"], new["created_at"]) == ("a", "t", 2, CREATED)
    assert "qos" not in new


def test_a_replacement_has_no_other_id(editor: ConfigurationEditor) -> None:
    with unchanged(editor.path), pytest.raises(BadEntry, match=r'id = .*b.*must be "a"'):
        editor.replace("a", entry("b"))


def test_a_replacement_says_the_version_that_was_read(editor: ConfigurationEditor) -> None:
    without = {"topic": "t", "data": {}, "interval": 0}
    with unchanged(editor.path), pytest.raises(BadEntry, match=r"interval.*; .*version"):
        editor.replace("a", without)


def test_a_version_that_another_change_has_overtaken_is_a_conflict(
    editor: ConfigurationEditor,
) -> None:
    read = editor.entry("a")
    editor.replace("a", read | {"interval": 5})
    with unchanged(editor.path), pytest.raises(Conflict, match="has version 2 now, not 1"):
        editor.replace("a", read | {"interval": 6})


@pytest.mark.parametrize(
    "version", [{}, {"version": None}, {"version": "x"}, {"version": True}, {"version": 0}]
)
def test_an_entry_without_a_usable_version_has_version_1(
    file: Path, editor: ConfigurationEditor, version: dict[str, Any]
) -> None:
    file.write_text(json.dumps([{"id": "a", "topic": "t", "data": {}, "interval": 1, **version}]))
    with pytest.raises(Conflict, match="has version 1 now, not 2"):
        editor.replace("a", entry("a", version=2))
    new = editor.replace("a", {"topic": "t", "data": {}, "interval": 1, "version": 1})
    assert new["version"] == 2
    assert "created_at" not in new


def test_after_the_largest_version_comes_the_first(file: Path, editor: ConfigurationEditor) -> None:
    file.write_text(json.dumps([entry("a", version=MAX_VERSION)]))
    assert editor.replace("a", entry("a", version=MAX_VERSION))["version"] == 1
    assert editor.check() == (1, [])


def test_a_faulty_entry_can_be_mended(file: Path, editor: ConfigurationEditor) -> None:
    file.write_text(json.dumps([entry("a", interval="fast", created_at="long ago", colour="red")]))
    editor.replace("a", entry("a"))
    assert editor.check() == (1, [])


# Removing


def test_a_removed_entry_is_told_and_gone(editor: ConfigurationEditor) -> None:
    assert editor.remove("a") == entry("a")
    assert editor.entries() == [entry("b")]
    assert editor.remove("b", 1) == entry("b")
    assert editor.entries() == []
    editor.add(entry("c"))
    assert editor.check() == (1, [])


def test_only_the_version_that_was_named_is_removed(editor: ConfigurationEditor) -> None:
    with unchanged(editor.path), pytest.raises(Conflict, match="has version 1 now, not 2"):
        editor.remove("a", 2)


# The file


def test_everything_beside_the_entry_stays_as_it_was_written(
    file: Path, editor: ConfigurationEditor
) -> None:
    file.write_text(STRANGE)
    editor.replace("last", entry("last", version=1))
    editor.add(entry("new"))
    editor.remove("new")
    kept = file.read_text()
    for token in (
        "1.10",
        "1E2",
        "123456789012345678901234567890",
        r"caf\u00e9 é \/",
        '"note"',
        '"fast"',
    ):
        assert token in kept
    assert "".join(kept.split()).startswith("".join(STRANGE.split()).split('{"id":"last"')[0])


def test_an_entry_that_no_value_holds_stays_as_it_was_written(
    file: Path, editor: ConfigurationEditor
) -> None:
    text = r'{"id": "b", "topic": "t", "data": {"a": "\ud800", "b": 1e999}, "interval": 1}'
    file.write_text(f"[{text}]")
    editor.add(entry("new"))
    assert text in file.read_text()
    assert editor.entries()[0] == text
    assert editor.remove("b") == text


def test_the_file_is_indented_utf_8_text(editor: ConfigurationEditor) -> None:
    editor.add(entry("héllo", data={"unit": "°C"}))
    editor.remove("a")
    editor.replace("b", entry("b"))
    text = editor.path.read_text(encoding="utf-8")
    assert text == json.dumps(editor.entries(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_file_keeps_its_permissions(file: Path, editor: ConfigurationEditor, mode: int) -> None:
    file.chmod(mode)
    editor.remove("a")
    assert file.stat().st_mode & 0o7777 == mode


def test_a_symbolic_link_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    ConfigurationEditor(link).remove("a")
    assert link.is_symlink()
    assert ConfigurationEditor(file).entries() == [entry("b")]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["link.json"]


@pytest.mark.parametrize(
    "content", [b"", b'[{"id": "a"', b'{"id": "a"}', b'[{"id": "\xff"}]', b"[1] x", b"[" * 100_000]
)
def test_a_file_that_cannot_be_read_is_never_overwritten(
    file: Path, editor: ConfigurationEditor, content: bytes
) -> None:
    file.write_bytes(content)
    changes: list[Callable[[], Any]] = [
        lambda: editor.add(entry("c")),
        lambda: editor.replace("a", entry()),
        lambda: editor.remove("a"),
    ]
    asks: list[Callable[[], Any]] = [editor.entries, editor.check, lambda: editor.entry("a")]
    with unchanged(file):
        for change in changes:
            with pytest.raises(Conflict, match="mend the file first"):
                change()
        for ask in asks:
            with pytest.raises(ConfigurationError, match=r"configs\.json"):
                ask()


def test_a_file_that_has_gone_is_not_made_anew(file: Path, editor: ConfigurationEditor) -> None:
    file.unlink()
    with unchanged(file), pytest.raises(Conflict, match="Nothing was changed"):
        editor.add(entry("c"))


def test_a_folder_that_has_gone_is_not_made_anew(file: Path, editor: ConfigurationEditor) -> None:
    file.unlink()
    file.parent.rmdir()
    with pytest.raises(Conflict, match="Nothing was changed"):
        editor.add(entry("c"))
    assert not file.parent.exists()


def test_a_lock_that_cannot_be_made_is_told(file: Path, editor: ConfigurationEditor) -> None:
    (file.parent / "configs.json.edit.lock").mkdir()
    before = file.read_bytes()
    with pytest.raises(NotWritable, match=r"cannot be written.*folder must be writable"):
        editor.remove("a")
    assert file.read_bytes() == before


def test_a_lock_that_cannot_be_written_is_told(file: Path, editor: ConfigurationEditor) -> None:
    Path(
        f"{file}.edit.lock"
    ).mkdir()  # root may write into every folder, but opens none for writing
    with unchanged(file), pytest.raises(NotWritable, match="cannot be written: Is a directory"):
        editor.remove("a")


@pytest.mark.process
def test_a_full_disk_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    with unchanged(file):
        (told,) = finished(started(FULL_DISK, file))
    assert "cannot be written: File too large" in told


def test_a_file_that_another_editor_keeps_locked_is_told(file: Path) -> None:
    with (
        FileLock(f"{file}.edit.lock"),
        unchanged(file),
        pytest.raises(NotWritable, match="try again"),
    ):
        ConfigurationEditor(file, lock_seconds=0.1).remove("a")


# Several at once, and the end at any moment


@pytest.mark.process
def test_a_kill_at_any_moment_leaves_the_file_whole(
    file: Path, editor: ConfigurationEditor
) -> None:
    others = [entry(f"other-{number}", data={"text": "y" * 500}) for number in range(300)]
    file.write_text(json.dumps([entry("a"), *others]))
    chance = random.Random(20)
    for _ in range(20):
        process = started(WRITER, file)
        assert process.stdout is not None
        told = [int(process.stdout.readline())]
        # No event to wait for: the moment is to be any.
        threading.Event().wait(chance.uniform(0, 0.06))
        process.kill()
        told += [
            int(line)
            for line in process.stdout.read().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        process.communicate(timeout=10)
        changed, *rest = json.loads(file.read_bytes())
        assert rest == others
        assert changed["data"] == {"text": "x" * ((changed["version"] - 1) % 1000)}
        assert changed["version"] - told[-1] in (0, 1)
    editor.remove("a")
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "configs.json",
        "configs.json.edit.lock",
    ]


@pytest.mark.process
def test_of_two_processes_that_add_no_change_is_lost(
    file: Path, editor: ConfigurationEditor
) -> None:
    race(ADDER, file)
    ids = [item["id"] for item in editor.entries()]
    assert sorted(ids) == sorted(
        ["a", "b", *(f"{name}-{number}" for name in ("left", "right") for number in range(30))]
    )


@pytest.mark.process
def test_of_two_replacements_of_a_version_exactly_one_wins(
    file: Path, editor: ConfigurationEditor
) -> None:
    left, right = race(RIVAL, file)
    assert sorted(map(int, left + right)) == list(range(1, 41))
    assert editor.entry("a")["version"] == 41


def test_of_two_threads_no_change_is_lost(file: Path, editor: ConfigurationEditor) -> None:
    def add(name: str) -> None:
        for number in range(30):
            editor.add(entry(f"{name}-{number}"))

    threads = [threading.Thread(target=add, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(editor.entries()) == 62
