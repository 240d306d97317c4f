"""Logging: a coloured console, a rotating file, and no flood of lines that say the same."""

import contextlib
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import PROJECT
from utils import logger as logs
from utils.logger import Throttle

pytestmark = pytest.mark.usefixtures("tmp_path")

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - autoforge - WARNING - a warning\n")


@pytest.fixture(autouse=True)
def _own_root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give pytest its handlers and levels back, and the process its name, which is none."""
    monkeypatch.setattr(logs, "_process_name", "")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    others = {name: logging.getLogger(name).level for name in ("alembic", "werkzeug")}
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in others.items():
        logging.getLogger(name).setLevel(before)


def test_the_file_gets_plain_lines_with_time_name_and_level() -> None:
    logs.configure("INFO", Path("autoforge.log"))
    logging.getLogger("autoforge").warning("a warning")
    assert LINE.fullmatch(Path("autoforge.log").read_text())


def test_the_console_gets_the_same_lines_in_colour(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", Path("autoforge.log"))
    logging.getLogger("autoforge").warning("a warning")
    console = capsys.readouterr().err
    assert console.startswith("\x1b[33m")
    assert LINE.fullmatch(re.sub(r"\x1b\[\d+m", "", console))


def test_the_file_rotates_at_10_mb_and_5_old_files_are_kept() -> None:
    logs.configure("INFO", Path("autoforge.log"))
    for _ in range(7):
        with Path("autoforge.log").open("ab") as file:
            file.truncate(logs.MAX_FILE_BYTES - 1)
            file.write(b"\n")
        logging.getLogger("autoforge").warning("a warning")
    kept = ["autoforge.log", *(f"autoforge.log.{number}" for number in range(1, 6))]
    assert sorted(map(str, Path().glob("*.log*"))) == kept
    assert Path("autoforge.log.5").stat().st_size == logs.MAX_FILE_BYTES == 10 * 1024 * 1024


def test_a_full_file_makes_room_for_a_new_one() -> None:
    Path("autoforge.log").write_bytes(b"2026-01-01 ".ljust(logs.MAX_FILE_BYTES, b"x"))
    logs.configure("INFO", Path("autoforge.log"))
    logging.getLogger("autoforge").warning("a warning")
    assert Path("autoforge.log.1").stat().st_size == logs.MAX_FILE_BYTES
    assert LINE.fullmatch(Path("autoforge.log").read_text())


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_it_writes_the_level_and_what_is_graver(level: str) -> None:
    logs.configure(level, Path("autoforge.log"))
    names = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    for name in names:
        logging.getLogger("autoforge").log(logging.getLevelName(name), "x")
    written = [line.split(" - ")[2] for line in Path("autoforge.log").read_text().splitlines()]
    assert written == names[names.index(level) :]


@pytest.mark.parametrize(
    ("file", "process", "expected"),
    [
        ("autoforge.log", "", "autoforge.log"),
        ("autoforge.log", "worker-2", "autoforge.worker-2.log"),
        ("logs/deep/a.b.log", "ingest", "logs/deep/a.b.ingest.log"),
        ("autoforge", "worker-1", "autoforge.worker-1"),
    ],
)
def test_each_process_has_a_file_of_its_own(file: str, process: str, expected: str) -> None:
    logs.configure("INFO", Path(file), process)
    logging.getLogger("autoforge").warning("a warning")
    assert [str(path) for path in Path().rglob("*") if path.is_file()] == [expected]


@pytest.mark.parametrize(
    ("process", "expected"), [("", "deep/t.csv"), ("worker-2", "deep/t.worker-2.csv")]
)
def test_lines_of_another_file_go_into_one_of_the_process_with_a_header_at_the_top(
    process: str, expected: str
) -> None:
    logs.configure("INFO", Path("autoforge.log"), process)
    for line in (b"1\n", b"2\n3\n"):
        logs.append(Path("deep/t.csv"), b"number\n", line, logs.Rotation())
    assert [str(path) for path in Path().rglob("*.csv")] == [expected]
    assert Path(expected).read_bytes() == b"number\n1\n2\n3\n"


def in_the_way(file: Path) -> None:
    file.unlink()
    file.mkdir()


def full(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/full")


WHY = "records are missing from the log so far"


@pytest.mark.parametrize(
    ("happens", "ends", "told"),
    [
        (lambda file: file.rename("logs/old"), None, []),
        (Path.unlink, None, []),
        (lambda file: shutil.rmtree(file.parent), None, []),
        (lambda file: file.parent.rename("elsewhere"), None, []),
        (in_the_way, Path.rmdir, [f"Is a directory: 'logs/a.log'; 1 {WHY}"]),
        (full, Path.unlink, [f"No space left on device; 1 {WHY}"]),
    ],
    ids=["renamed", "deleted", "folder deleted", "folder renamed", "a folder", "disk full"],
)
def test_a_file_that_is_taken_away_is_made_anew_and_the_console_tells_what_is_missing(
    happens: Callable[[Path], object],
    ends: Callable[[Path], object] | None,
    told: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = Path("logs/a.log")
    logs.configure("INFO", file)
    logging.getLogger("autoforge").warning("a warning")
    happens(file)
    if ends is not None:
        logging.getLogger("autoforge").warning("lost")
        logging.getLogger("autoforge").warning("lost")
        ends(file)
    logging.getLogger("autoforge").warning("a warning")
    assert LINE.fullmatch(file.read_text())
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if "cannot be written" in line] == [
        line for line in said.splitlines() if any(text in line for text in told)
    ]
    assert said.count(WHY) == len(told)
    assert "Traceback" not in said


def test_the_null_device_is_that_of_every_process(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", Path(os.devnull), "worker-1")
    logging.getLogger("autoforge").warning("a warning")
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path(f"{os.devnull}.worker-1").exists()


@contextlib.contextmanager
def open_as(kind: str) -> Iterator[tuple[int, str, Callable[[], bytes]]]:
    """A descriptor for standard output, the path of the log, and what was written."""
    if kind in ("file", "appended"):
        flags = os.O_RDWR | os.O_CREAT | (os.O_APPEND if kind == "appended" else 0)
        written = os.open("out", flags, 0o600)
        yield written, "/dev/stdout", lambda: Path("out").read_bytes()
    elif kind == "socket":
        ours, theirs = socket.socketpair()
        with ours, theirs:
            yield theirs.fileno(), "/dev/stdout", lambda: ours.recv(100_000)
        return
    elif kind == "pipe":
        read, written = os.pipe()
        yield written, "/dev/stdout", lambda: os.read(read, 100_000)
        os.close(read)
    else:
        os.mkfifo("fifo")
        read = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
        written = os.open(os.devnull, os.O_WRONLY)
        yield written, "fifo", lambda: os.read(read, 100_000)
        os.close(read)
    os.close(written)


STREAM = """
import logging, os, sys
from pathlib import Path
from utils import logger
for name in ("worker-1", "worker-2"):
    logger.configure("INFO", Path(sys.argv[1]), name)
    for line in range(3):
        print("a print", flush=True)
        logging.getLogger("autoforge").warning("line %d", line)
        logger.append(Path(sys.argv[1]), b"number\\n", b"1\\n", logger.Rotation(size=1))
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["pipe", "file", "appended", "socket", "fifo"])
def test_standard_output_and_pipes_get_every_line_and_no_rotation(
    kind: str, tmp_path: Path
) -> None:
    with open_as(kind) as (written, name, said):
        program = [sys.executable, "-c", STREAM, name]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        errors = subprocess.run(
            program, stdout=written, stderr=subprocess.PIPE, env=environment, check=True
        ).stderr
        lines = said().decode().splitlines()
    assert b"cannot be written" not in errors
    assert [line for line in lines if line == "a print"] == ["a print"] * (6 * (kind != "fifo"))
    assert [line[-6:] for line in lines if "autoforge" in line] == [
        "line 0",
        "line 1",
        "line 2",
    ] * 2
    assert (lines.count("1"), lines.count("number")) == (6, 1)
    assert len(list(tmp_path.iterdir())) <= 1


def test_a_pipe_without_a_reader_does_not_stop_the_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    os.mkfifo("pipe")
    logs.configure("INFO", Path("pipe"), "worker-1")
    for line in ("lost", "read"):
        if line == "read":
            reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
        logging.getLogger("autoforge").warning(line)
    assert os.read(reader, 1_000).endswith(b" - autoforge - WARNING - read\n")
    os.close(reader)
    logging.getLogger("autoforge").warning("lost")
    assert capsys.readouterr().err.count("LOG_FILE=pipe: cannot be written: ") == 1
    assert [str(path) for path in Path().iterdir()] == ["pipe"]


def test_a_file_of_someone_else_is_never_renamed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.log").write_bytes(b"someone's text without an end")
    logs.configure("INFO", Path("a.log"))
    logging.getLogger("autoforge").warning("lost")
    assert [str(path) for path in Path().iterdir()] == ["a.log"]
    assert Path("a.log").read_bytes() == b"someone's text without an end"
    assert "LOG_FILE=a.log: cannot be written: " in capsys.readouterr().err


def test_another_file_rotates_as_the_log_does() -> None:
    for number in range(8):
        logs.append(
            Path("t.csv"),
            b"",
            b"%d" % number + b"x" * (logs.MAX_FILE_BYTES - 2) + b"\n",
            logs.Rotation(mark=re.compile(rb"^\dx")),
        )
    kept = sorted(Path().glob("t.csv*"))
    assert [str(path) for path in kept] == ["t.csv", *(f"t.csv.{number}" for number in range(1, 6))]
    assert [path.read_bytes()[:1] for path in kept] == [b"7", b"6", b"5", b"4", b"3", b"2"]


def test_configuring_again_doubles_no_line() -> None:
    logs.configure("INFO", Path("autoforge.log"))
    logs.configure("INFO", Path("autoforge.log"), "worker-1")
    logging.getLogger("autoforge").warning("a warning")
    assert LINE.fullmatch(Path("autoforge.worker-1.log").read_text())
    assert not Path("autoforge.log").exists()


def test_umlauts_are_written_as_utf_8() -> None:
    logs.configure("INFO", Path("autoforge.log"))
    logging.getLogger("autoforge").warning("Gerät 7 °C")
    assert "Gerät 7 °C" in Path("autoforge.log").read_text(encoding="utf-8")


def test_the_throttle_holds_back_what_says_the_same(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(seconds=3600)
    for number in range(100):
        throttle.warn(logging.getLogger("autoforge"), "not_a_number", f"message {number}")
    assert caplog.messages == ["message 0"]
    assert caplog.records[0].levelname == "WARNING"


def test_the_throttle_lets_each_key_through(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(seconds=3600)
    for key in ("missing_field", "not_a_number", "missing_field", "empty_payload"):
        throttle.warn(logging.getLogger("autoforge"), key, key)
    assert caplog.messages == ["missing_field", "not_a_number", "empty_payload"]


def test_the_throttle_says_how_many_it_held_back(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(seconds=0.1)
    calls = 0
    while len(caplog.messages) < 2:
        throttle.warn(logging.getLogger("autoforge"), "key", "a line")
        calls += 1
    assert caplog.messages == ["a line", f"a line (and {calls - 2} more like it)"]
    assert calls > 2


def test_the_throttle_tells_what_it_held_back_when_nothing_more_comes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others of this process may hold lines until they are collected.
    monkeypatch.setattr(logs, "_throttles", weakref.WeakSet())
    before, throttle = time.monotonic(), Throttle(seconds=0.2)
    for number in range(4):
        throttle.warn(logging.getLogger("autoforge"), "key", f"line {number}")
    throttle.warn(logging.getLogger("autoforge"), "other", "alone")
    while len(caplog.messages) < 3:
        logs.flush_throttles()
    assert time.monotonic() - before >= 0.2
    assert caplog.messages == ["line 0", "alone", "line 3 (and 2 more like it)"]


def test_a_second_line_of_a_kind_is_told_in_full_before_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    throttle = Throttle(seconds=0.05)
    for line in ("first", "second"):
        throttle.warn(logging.getLogger("autoforge"), "key", line)
    while len(caplog.messages) < 2:
        throttle.flush()
    assert caplog.messages == ["first", "second"]


def test_the_throttle_lets_a_line_through_after_its_second_without_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    throttle = Throttle(seconds=0)
    for _ in range(3):
        throttle.warn(logging.getLogger("autoforge"), "key", "a line")
    assert caplog.messages == ["a line"] * 3


def test_a_percent_sign_in_a_throttled_line_is_only_a_percent_sign(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Throttle().warn(logging.getLogger("autoforge"), "key", "100 %s of %d")
    assert caplog.messages == ["100 %s of %d"]


def test_the_throttle_is_shared_by_threads(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(seconds=3600)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda _: throttle.warn(logging.getLogger("autoforge"), "key", "a line"),
                range(1_000),
            )
        )
    assert caplog.messages == ["a line"]
