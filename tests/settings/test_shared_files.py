"""Files that several settings name: each of them would destroy what another has written."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings, SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("tmp_path")

LINE = b"2026-01-01 00:00:00,000 - autoforge - INFO - started\n"
HEADER = b"received_at,source,topic\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    """Files of settings, links to them, and files of others."""
    Path("old.db").write_bytes(b"SQLite format 3\0")
    for name in ("a.pem", "a.json"):
        Path(name).write_text("x")
    Path("link.log").symlink_to("old.db")
    Path("link").symlink_to(tmp_path)
    Path("hard.log").hardlink_to("a.json")
    Path("my.log").write_bytes(LINE)
    Path("my.csv").write_bytes(HEADER)


def load(**values: Any) -> Settings:
    values = {"database_url": "sqlite:///old.db", **values}
    return load_settings(**values)


@pytest.mark.parametrize(
    ("values", "first", "second", "path"),
    [
        ({"audit_csv": "old.db"}, "AUDIT_CSV=old.db", "DATABASE_URL", "old.db"),
        ({"log_file": "./x/../old.db"}, "LOG_FILE=x/../old.db", "DATABASE_URL", "old.db"),
        ({"log_file": "link/old.db"}, "LOG_FILE=link/old.db", "DATABASE_URL", "old.db"),
        ({"log_file": "link.log"}, "LOG_FILE=link.log", "DATABASE_URL", "old.db"),
        ({"log_file": "old.db-wal"}, "LOG_FILE=old.db-wal", "DATABASE_URL", "old.db-wal"),
        ({"log_file": "old.db-shm"}, "LOG_FILE=old.db-shm", "DATABASE_URL", "old.db-shm"),
        ({"log_file": "old.db-journal"}, "LOG_FILE=.+", "DATABASE_URL", "old.db-journal"),
        ({"log_file": "old.db-wal.old"}, "LOG_FILE=.+", "DATABASE_URL", "old.db-wal.old"),
        ({"log_file": "old.db.ingest.lock"}, "LOG_FILE=.+", "DATABASE_URL", "old.db.ingest.lock"),
        (
            {"log_file": "new.db/x.log", "database_url": "sqlite:///new.db"},
            "LOG_FILE=new.db/x.log",
            "DATABASE_URL",
            "new.db",
        ),
        ({"log_file": "old.db.broker"}, "LOG_FILE=.+", "the embedded broker", "old.db.broker"),
        ({"log_file": "old.db.broker/x"}, "LOG_FILE=.+", "the embedded broker", "old.db.broker"),
        ({"log_file": "x", "audit_csv": "x"}, "LOG_FILE=x", "AUDIT_CSV=x", "x"),
        ({"log_file": "t.txt", "audit_csv": "t.worker-1.txt"}, ".+", ".+", "t.worker-1.txt"),
        ({"log_file": "t.live-master.1", "audit_csv": "t.1"}, ".+", ".+", "t.live-master.1"),
        ({"log_file": "t.txt.3", "audit_csv": "t.txt"}, "LOG.+", "AUDIT.+", "t.txt.3"),
        ({"log_file": "new", "audit_csv": "new/x.csv"}, "LOG_FILE=new", "AUDIT_CSV=.+", "new"),
        ({"log_file": "t/x.log", "audit_csv": "t"}, "LOG_FILE=t/x.log", "AUDIT_CSV=t", "t"),
        ({"log_file": ".env"}, "LOG_FILE=.env", r"\.env", ".env"),
        ({"log_file": "a.json", "publisher_config": "a.json"}, "LOG.+", "PUB.+=a.json", "a.json"),
        ({"log_file": "hard.log", "publisher_config": "a.json"}, "LOG.+", "PUB.+", "hard.log"),
        (
            {"audit_csv": "a.json.statistics", "publisher_config": "a.json"},
            "AUDIT_CSV=.+",
            "PUBLISHER_CONFIG=a.json",
            "a.json.statistics",
        ),
        ({"log_file": "a.pem", "mqtt_ca_cert": "a.pem"}, "LOG.+", "MQTT_CA_CERT=.+", "a.pem"),
        (
            {"audit_csv": "a.pem", "mqtt_client_cert": "a.pem", "mqtt_client_key": "a.pem"},
            "AUDIT_CSV=a.pem",
            "MQTT_CLIENT_CERT=a.pem",
            "a.pem",
        ),
        ({"publisher_config": "old.db"}, "DATABASE_URL", "PUBLISHER_CONFIG=old.db", "old.db"),
    ],
)
def test_a_file_of_two_settings_is_one_line_with_both(
    values: dict[str, Any], first: str, second: str, path: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as told:
        load(**values)
    both = rf"{first} and {second}: both would use {re.escape(str(tmp_path / path))}; name .+"
    assert re.fullmatch(both, str(told.value))


@pytest.mark.parametrize(
    "values",
    [
        {"log_file": "my.log", "audit_csv": "my.csv"},
        {"log_file": "old.db.log", "audit_csv": "old.csv"},
        {"log_file": "a.log", "audit_csv": "a.audit.log"},
        {"log_file": os.devnull, "audit_csv": os.devnull},
        {"mqtt_client_cert": "a.pem", "mqtt_client_key": "a.pem", "mqtt_ca_cert": "a.pem"},
        {"log_file": "autoforge.broker/x.log"},
        {"log_file": "old.db.broker/x.log", "mqtt_broker": "localhost"},
    ],
)
def test_files_of_their_own_are_taken(values: dict[str, Any]) -> None:
    load(**values)


def test_standard_output_may_be_a_file_but_not_the_database() -> None:
    with redirected("out"):
        load(log_file="/dev/stdout", audit_csv="/dev/stdout")
    with redirected("my.csv"), pytest.raises(SettingsError, match=r"^LOG_FILE=/dev/stdout and AU"):
        load(log_file="/dev/stdout", audit_csv="my.csv")
    with redirected("old.db"), pytest.raises(SettingsError, match=r"^LOG_FILE=/dev/stdout and DA"):
        load(log_file="/dev/stdout")


@contextlib.contextmanager
def redirected(file: str) -> Iterator[None]:
    """Standard output in a file."""
    before = os.dup(1)
    with Path(file).open("ab") as opened:
        os.dup2(opened.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@pytest.mark.parametrize(
    ("content", "log", "trail"),
    [
        (b"", True, True),
        (b"\0" * 10 + b"\n", True, True),
        (LINE, True, False),
        (b"nohup: ignoring input\n\x1b[32m" + LINE, True, False),
        (HEADER, False, True),
        (b"\xef\xbb\xbf" + HEADER, False, True),
        (b"SQLite format 3\0", False, False),
        (b"a thesis of forty pages", False, False),
    ],
)
def test_a_file_that_something_else_has_written_is_neither_log_nor_trail(
    content: bytes, log: bool, trail: bool
) -> None:
    Path("there").write_bytes(content)
    for name, taken in (("log_file", log), ("audit_csv", trail)):
        if taken:
            load(**{name: "there"})
        else:
            with pytest.raises(SettingsError, match=f"^{name.upper()}=there: exists and is not a"):
                load(**{name: "there"})
    assert Path("there").read_bytes() == content
