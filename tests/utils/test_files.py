"""What AutoForge writes, its own user alone may read; and a secret that everybody may read is named in the log."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings, warn_of_exposed_files
from tests.live import serving
from tests.publishing import entry, statistics_of
from tests.support import GUNICORN, PROJECT, BackendProcess, Mosquitto, publishing, wait_for
from utils import files

PROGRAMS = {
    "python app.py": [sys.executable, str(PROJECT / "app.py")],
    "gunicorn": [*GUNICORN, "app:app"],
    "python -m ingest": [sys.executable, "-m", "ingest"],
    "python -m publisher": [sys.executable, "-m", "publisher"],
}


def exposed(folder: Path) -> list[str]:
    """The files of a folder that another user may read or write, with their permissions."""
    found = [file for file in folder.rglob("*") if file.is_file()]
    return sorted(
        f"{file.name} {file.stat().st_mode & 0o777:o}"
        for file in found
        if file.stat().st_mode & 0o077
    )


@pytest.mark.process
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_file_that_a_program_writes_can_be_read_by_others(
    tmp_path: Path, mosquitto: Mosquitto, program: str
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    config = made / "payloads.json"
    config.write_text(json.dumps([entry("one", "sensors/ESP32_001/data")]))
    config.chmod(0o600)
    place = {
        "MQTT_BROKER": "127.0.0.1",
        "MQTT_PORT": str(mosquitto.port),
        "LOG_FILE": str(made / "autoforge.log"),
    }
    written = {"DATABASE_URL": f"sqlite:///{made}/test.db", "AUDIT_CSV": str(made / "audit.csv")}
    backend = BackendProcess(
        tmp_path, PROGRAMS[program], PUBLISHER_CONFIG=str(config), **place, **written
    )
    wanted = statistics_of(config).name if "publisher" in program else "audit*.csv"
    with serving(backend, wait=False), publishing(mosquitto.port) as publish:

        def has_written() -> bool:
            publish("sensors/ESP32_001/data", "{}")
            return bool(list(made.glob(wanted)) and list(made.glob("*.log")))

        wait_for(has_written, what=f"{wanted}; see {backend.console}")
        assert not exposed(made)
        assert backend.stop(signal.SIGTERM) == 0
    assert not exposed(made)


def test_a_file_that_is_replaced_for_the_first_time_is_private(tmp_path: Path) -> None:
    files.replace(tmp_path / "new", b"x")
    assert not exposed(tmp_path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_file_that_was_there_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(mode)
    files.replace(tmp_path / "old", b"x")
    assert (tmp_path / "old").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("mode", "named"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)]
)
def test_a_secret_that_everybody_may_read_is_named_in_the_log(
    settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture, mode: int, named: bool
) -> None:
    for name in (".env", "a key.pem", "cert.pem"):
        Path(name).touch()
        Path(name).chmod(mode)
    warn_of_exposed_files(
        settings(mqtt_client_key=Path("a key.pem"), mqtt_client_cert=Path("cert.pem"))
    )
    expected = [
        ".env: every user of this machine can read it. Run: chmod 600 .env",
        "MQTT_CLIENT_KEY: every user of this machine can read it. Run: chmod 600 'a key.pem'",
    ]
    assert caplog.messages == (expected if named else [])


def test_without_secrets_nothing_is_said(
    settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_exposed_files(settings())
    assert not caplog.messages


def test_the_units_of_systemd_agree() -> None:
    units = list((PROJECT / "deploy").glob("*.service"))
    assert len(units) == 4
    assert all("\nUMask=0077\n" in unit.read_text() for unit in units)
