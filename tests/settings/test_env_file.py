"""`.env`: what it may hold, how values are quoted, and the line about names that nobody knows."""

import logging
import re
import sys
from pathlib import Path

import pytest

from config import PROJECT, Settings, SettingsError, load_settings, warn_of_unknown_settings
from tests.support import BackendProcess, free_port, wait_for

pytestmark = pytest.mark.usefixtures("tmp_path")

INTEGER = "must be a whole number"
LINE = "must be NAME=value, with the quotes around a value closed"


def written(content: str | bytes) -> Settings:
    """The settings of a `.env` in the present folder."""
    Path(".env").write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_settings()


def fault(content: str | bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        written(content)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_PORT", "9000")
    settings = written("MQTT_BROKER=of-file\nFLASK_PORT=8000\nLOG_LEVEL=\nUNKNOWN=1\n")
    assert (settings.mqtt_broker, settings.flask_port, settings.log_level) == (
        "of-file",
        9000,
        "INFO",
    )


def test_an_empty_variable_leaves_what_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_PORT", "")
    assert written("FLASK_PORT=8000\n").flask_port == 8000


def test_a_fault_is_named_as_one_in_the_environment() -> None:
    assert fault("FLASK_PORT=x\n") == f"FLASK_PORT=x: {INTEGER}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbfFLASK_PORT=8000\nLOG_LEVEL=ERROR\n", id="a byte-order mark"),
        pytest.param(b"FLASK_PORT=8000\r\nLOG_LEVEL=ERROR\r\n", id="the line ends of Windows"),
        pytest.param(
            b"\xef\xbb\xbfFLASK_PORT=8000\r\nLOG_LEVEL=ERROR", id="both, without a last line end"
        ),
        pytest.param(b"FLASK_PORT = 8000  \n LOG_LEVEL = ERROR\t\n", id="spaces around"),
        pytest.param(
            b"FLASK_PORT=8000 # behind nginx\nLOG_LEVEL='ERROR ' # less\n", id="comments and quotes"
        ),
        pytest.param(
            b"export FLASK_PORT=8000\nlog_level=error\n", id="for a shell, and in small letters"
        ),
    ],
)
def test_it_is_read_whichever_editor_has_written_it(content: bytes) -> None:
    settings = written(content)
    assert (settings.flask_port, settings.log_level) == (8000, "ERROR")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(
            "# Gerät\n".encode("latin-1"),
            "line 1: byte 0xe4 is not UTF-8; it must be UTF-8",
            id="Latin-1",
        ),
        pytest.param(
            "FLASK_PORT=8000\n".encode("utf-16"),
            "is UTF-16 or UTF-32; it must be UTF-8",
            id="UTF-16",
        ),
        pytest.param(
            "A=1\n".encode("utf-16-le"),
            "is UTF-16 or UTF-32; it must be UTF-8",
            id="UTF-16 without a mark",
        ),
        pytest.param(
            "A=1\n".encode("utf-32"), "is UTF-16 or UTF-32; it must be UTF-8", id="UTF-32"
        ),
        pytest.param('A=1\n\n\nMQTT_PASSWORD="secret\nB=2\n', f"line 4 {LINE}", id="an open quote"),
        pytest.param("MQTT_PASSWORD='it's secret'\n", f"line 1 {LINE}", id="a quote in quotes"),
        pytest.param("A=1\nFLASK_PORT: 8000\n", f"line 2 {LINE}", id="a colon"),
        pytest.param("FLASK_PORT 8000\n", f"line 1 {LINE}", id="a space"),
    ],
)
def test_what_cannot_be_read_stops_the_start_in_one_line(
    content: str | bytes, sentence: str
) -> None:
    message = fault(content)
    assert message == f".env: {sentence}"
    assert "secret" not in message


def test_a_file_that_may_not_be_read_stops_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    Path(".env").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SettingsError, match=r"^\.env: cannot be read: Permission denied$"):
        load_settings()


# What .env.example says about quotes


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("MQTT_PASSWORD=a#b", "a#b"),
        ("MQTT_PASSWORD=a #b", "a"),
        ("MQTT_PASSWORD='a #b'", "a #b"),
        ('MQTT_PASSWORD="a #b"', "a #b"),
        ("MQTT_PASSWORD=  a b  ", "a b"),
        ("MQTT_PASSWORD=' a b '", " a b "),
        (r"MQTT_PASSWORD='it\'s'", "it's"),
        (r"MQTT_PASSWORD='a\\b'", r"a\b"),
        (r"MQTT_PASSWORD='a\nb'", r"a\nb"),
        (r'MQTT_PASSWORD="a\tb\"c"', 'a\tb"c'),
        ("MQTT_PASSWORD='a${MQTT_USERNAME}b'", "ameb"),
        ("MQTT_PASSWORD='a${NOWHERE}b'", "ab"),
        ("MQTT_PASSWORD='a${:-$}{NOWHERE}b'", "a${NOWHERE}b"),
        ("MQTT_PASSWORD=a$b$$c", "a$b$$c"),
    ],
)
def test_a_value_is_quoted_as_the_example_says(line: str, password: str) -> None:
    found = written(f"MQTT_USERNAME=me\n{line}\n").mqtt_password
    assert found is not None
    assert found.get_secret_value() == password


def test_the_example_tells_each_rule_of_quoting() -> None:
    head = (PROJECT / ".env.example").read_text(encoding="utf-8").partition("# --- ")[0]
    for part in (" #", r"\'", r"\\", "${NAME}", "${:-$}", "UTF-8"):
        assert part in head, part


# Names that nobody knows


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("MQTT_BORKER=h\n", "MQTT_BORKER (did you mean MQTT_BROKER?)"),
        ("mqtt_brocker=h\n", "mqtt_brocker (did you mean MQTT_BROKER?)"),
        ("DATABASE_URI=sqlite:///x.db\n", "DATABASE_URI (did you mean DATABASE_URL?)"),
        (
            "COLOUR=red\nFLASK_PROT=1\nCOLOUR=blue\n",
            "COLOUR, FLASK_PROT (did you mean FLASK_PORT?)",
        ),
        ("A\x1b[31m=1\n", r"A\u001b[31m"),
    ],
)
def test_names_in_the_file_that_are_no_setting_are_told_in_one_line(
    content: str, names: str, caplog: pytest.LogCaptureFixture
) -> None:
    written(content)
    warn_of_unknown_settings()
    assert caplog.messages == [f".env: unknown settings are ignored: {names}"]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="nothing"),
        pytest.param("FLASK_PORT=8000\nflask_host=::1\n", id="settings"),
        pytest.param("HOST=h\nMQTT_BROKER=mqtt://${HOST}:1884\n", id="what another value uses"),
        pytest.param(
            "POSTGRES_PASSWORD=x\nFLASK_APP=app\n", id="what Docker Compose and flask read"
        ),
    ],
)
def test_names_that_somebody_uses_are_not_told(
    content: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_BORKER", "of the environment")
    written(content)
    warn_of_unknown_settings()
    assert not caplog.messages


def test_what_docker_compose_asks_for_is_known(caplog: pytest.LogCaptureFixture) -> None:
    text = (PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{([A-Z_]+)", text))
    assert names
    Path(".env").write_text("".join(f"{name}=x\n" for name in sorted(names)))
    warn_of_unknown_settings()
    assert not caplog.messages


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([str(PROJECT / "app.py")], id="python app.py"),
        pytest.param(["-m", "ingest"], id="python -m ingest"),
        pytest.param(
            ["-m", "gunicorn", "-c", str(PROJECT / "gunicorn.conf.py"), "app:app"], id="gunicorn"
        ),
        pytest.param(["-m", "publisher", "--config", "entries.json"], id="the static publisher"),
    ],
)
def test_each_program_tells_them_once(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MQTT_BORKER=h\n")
    (tmp_path / "entries.json").write_text("[]")
    program = BackendProcess(tmp_path, [sys.executable, *arguments], MQTT_PORT=str(free_port()))
    program.start(wait="ingest" not in arguments and "publisher" not in arguments)
    wait_for(lambda: re.search("Subscribed to|Publishing", program.console.read_text()), 60)
    told = "unknown settings are ignored: MQTT_BORKER (did you mean MQTT_BROKER?)"
    assert program.stop() == 0
    assert program.console.read_text().count(told) == 1
