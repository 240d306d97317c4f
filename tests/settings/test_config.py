"""Settings: what each variable may say, its default, and the one line that names a bad one."""

import os
import re
import socket
import stat
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from broker.connection import connect, new_client
from config import PROJECT, Settings, SettingsError, load_settings
from utils.broker_address import BrokerAddress

pytestmark = pytest.mark.usefixtures("tmp_path")

SECRET = "hunter2"
DEFAULTS = {
    "mqtt_broker": None,
    "mqtt_port": None,
    "mqtt_username": None,
    "mqtt_password": None,
    "mqtt_ca_cert": None,
    "mqtt_client_cert": None,
    "mqtt_client_key": None,
    "mqtt_client_id": None,
    "mqtt_protocol": "3.1.1",
    "mqtt_keepalive": 60,
    "embedded_broker_host": "127.0.0.1",
    "embedded_broker_max_mb": 1024,
    "sensor_topic": "sensors/{device_id}/data",
    "control_topic": "control/{device_id}/command",
    "ack_topic": "control/{device_id}/ack",
    "status_topic": "status/{device_id}",
    "catch_all_topic": None,
    "database_url": "sqlite:///sensors.db",
    "streams_dir": PROJECT / "streams",
    "streams": "",
    "earliest_time": datetime(2020, 1, 1),
    "flask_host": "0.0.0.0",
    "flask_port": 5000,
    "flask_env": "production",
    "cors_origins": "*",
    "proxy_count": 0,
    "heavy_requests": 4,
    "audit_csv_mb": 10,
    "audit_csv_count": 5,
    "log_level": "INFO",
    "log_file": Path("autoforge.log"),
    "audit_csv": None,
    "rejected_max_mb": 256,
    "publisher_config": None,
}
HOST = "must be a host name, or a URL such as mqtts://host:8883 (the port goes into MQTT_PORT)"
BROKER = "must be a host name or mqtt://, mqtts://, ws:// or wss://host:port/path"
DATABASE = "must be a URL such as sqlite:///sensors.db"
ONE_AT = "must have one @ at most, before the host: in a user name or password @ is written %40, / %2F and : %3A"
NO_LOGIN = (
    "must begin with sqlite:/// and the path of a file: a SQLite database has no host and no login"
)
ORIGINS = "must be * or origins such as https://dashboard.example.org or http://[::1]:3000, separated by commas"
DATABASES = "must begin with sqlite:///, postgresql:// or mysql+pymysql://"
INTEGER = "must be a whole number"
BRACKETS = "must have brackets around an IPv6 address: [::1], or mqtt://[::1]:1883 with a port"
ESCAPES = "; in a login / is written %2F, @ %40, # %23 and ? %3F"
LOGIN = "must have a user name before the @, or no @ at all"
PATH = "must have no path: only ws:// and wss:// have one"
QUERY = "must have no ? and nothing behind it: only ws:// and wss:// have a query; in a login, ? is written %3F"
FRAGMENT = "must have no # and nothing behind it; in a login or a query, # is written %23"
SPACE = "must have no space in its path or query: it is written %20"
CONTROL = "must have no control characters; in a login they are written %09 and so on"
PAST = "must be a date or a time in the past, such as 2020-01-01 or 2020-01-01T06:00:00Z"
ADDRESS = "must be an address such as 127.0.0.1 or ::1, without a port"


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Settings from these variables and the `.env` of the present folder."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def fault(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **variables)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_every_setting_has_its_documented_default() -> None:
    settings = load_settings()
    assert {name: getattr(settings, name) for name in Settings.model_fields} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MQTT_BROKER", "mqtt.example.com", "mqtt.example.com"),
        ("MQTT_PORT", "1884", 1884),
        ("MQTT_USERNAME", "autoforge", "autoforge"),
        ("MQTT_CA_CERT", "a.pem", Path("a.pem")),
        ("PUBLISHER_CONFIG", "a.pem", Path("a.pem")),
        ("MQTT_CLIENT_CERT", "a.pem", Path("a.pem")),
        ("MQTT_CLIENT_ID", "ingest-1", "ingest-1"),
        ("MQTT_PROTOCOL", "5", "5"),
        ("MQTT_KEEPALIVE", "5", 5),
        ("SENSOR_TOPIC", "factory/+/state", "factory/{device_id}/state"),
        ("SENSOR_TOPIC", "factory/{device_id}/state", "factory/{device_id}/state"),
        ("CONTROL_TOPIC", "factory/+/do", "factory/{device_id}/do"),
        ("ACK_TOPIC", "factory/+/done", "factory/{device_id}/done"),
        ("ACK_TOPIC", "factory/{device_id}/done", "factory/{device_id}/done"),
        ("STATUS_TOPIC", "+", "{device_id}"),
        ("DATABASE_URL", "sqlite:////var/lib/sensors.db", "sqlite:////var/lib/sensors.db"),
        ("STREAMS_DIR", ".", Path()),
        ("EARLIEST_TIME", "2021-06-01", datetime(2021, 6, 1)),
        ("EARLIEST_TIME", "2021-06-01T12:00:00+02:00", datetime(2021, 6, 1, 10)),
        ("EARLIEST_TIME", "1970-01-01T00:00:00Z", datetime(1970, 1, 1)),
        ("FLASK_HOST", "::1", "::1"),
        ("FLASK_HOST", "[::1]", "::1"),
        ("FLASK_HOST", "localhost", "localhost"),
        ("FLASK_PORT", "65535", 65535),
        ("FLASK_PORT", " 8000\t", 8000),
        ("FLASK_ENV", " development ", "development"),
        ("LOG_LEVEL", "info ", "INFO"),
        ("LOG_FILE", " x.log\r\n", Path("x.log")),
        ("MQTT_BROKER", " broker.example ", "broker.example"),
        ("MQTT_USERNAME", " two words ", " two words "),
        ("FLASK_ENV", "development", "development"),
        (
            "CORS_ORIGINS",
            "https://a.example,https://b.example",
            "https://a.example,https://b.example",
        ),
        ("PROXY_COUNT", "2", 2),
        ("REJECTED_MAX_MB", "1", 1),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_FILE", "logs/x.log", Path("logs/x.log")),
        ("LOG_FILE", "/dev/stdout", Path("/dev/stdout")),
        ("LOG_FILE", "/dev/stderr", Path("/dev/stderr")),
        ("LOG_FILE", "/dev/full", Path("/dev/full")),
        ("LOG_FILE", "new/" + "x" * 238, Path("new/" + "x" * 238)),
        ("AUDIT_CSV", "/dev/stdout", Path("/dev/stdout")),
        ("AUDIT_CSV", "trail/audit.csv", Path("trail/audit.csv")),
    ],
)
def test_it_reads(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pem").touch()
    assert getattr(read(monkeypatch, **{name: text}), name.lower()) == value


def test_it_reads_a_key_with_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pem").touch()
    assert read(
        monkeypatch, MQTT_CLIENT_CERT="a.pem", MQTT_CLIENT_KEY="a.pem"
    ).mqtt_client_key == Path("a.pem")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_variable_counts_as_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert getattr(read(monkeypatch, **{name.upper(): ""}), name) == DEFAULTS[name]


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("MQTT_PORT", "abc", INTEGER),
        ("MQTT_PORT", "0", "should be greater than or equal to 1"),
        ("MQTT_PORT", "65536", "should be less than or equal to 65535"),
        ("MQTT_CA_CERT", "no.pem", "must be the path of a file that exists"),
        ("MQTT_CLIENT_CERT", "no.pem", "must be the path of a file that exists"),
        ("MQTT_CLIENT_KEY", "no.pem", "must be the path of a file that exists"),
        ("MQTT_CLIENT_ID", "x" * 66, "String should have at most 65 characters"),
        ("MQTT_PROTOCOL", "4", "should be '3.1.1' or '5'"),
        ("MQTT_KEEPALIVE", "4", "should be greater than or equal to 5"),
        ("MQTT_KEEPALIVE", "3601", "should be less than or equal to 3600"),
        ("STREAMS_DIR", "no-folder", "must be the path of a folder that exists"),
        ("EARLIEST_TIME", "yesterday", PAST),
        ("EARLIEST_TIME", "2020", PAST),
        ("EARLIEST_TIME", "1577836800", PAST),
        ("EARLIEST_TIME", "2020-02-30", PAST),
        ("EARLIEST_TIME", "9999-01-01", PAST),
        ("EARLIEST_TIME", "0001-01-01T00:00:00+01:00", PAST),
        ("FLASK_HOST", "http://0.0.0.0", ADDRESS),
        ("FLASK_HOST", "0.0.0.0:5000", ADDRESS),
        ("FLASK_HOST", "a b", ADDRESS),
        ("FLASK_PORT", "5.5", INTEGER),
        ("FLASK_PORT", "5000.0", INTEGER),
        ("FLASK_PORT", "5_000", INTEGER),
        ("FLASK_PORT", "5,000", INTEGER),
        ("FLASK_PORT", "५०००", INTEGER),
        ("FLASK_PORT", "-1", "should be greater than or equal to 1"),
        ("FLASK_ENV", "staging", "should be 'development' or 'production'"),
        ("PROXY_COUNT", "11", "should be less than or equal to 10"),
        ("REJECTED_MAX_MB", "0", "should be greater than or equal to 1"),
        ("LOG_LEVEL", "LOUD", "should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
    ],
)
def test_a_bad_value_is_one_line_with_variable_value_and_what_is_allowed(
    name: str, text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(monkeypatch, **{name: text}) == f"{name}={text}: {allowed}"


WRITABLE = "must be a file that can be written"
ANY = r".+"


@pytest.mark.parametrize(
    ("path", "writable", "file", "database"),
    [
        ("/proc/x/y", ": .+", ANY, r"/proc/x/y: the folder /proc/x does not exist; .+"),
        ("/proc/y", ": .+", ANY, None),
        ("/proc/self/status/y", ": Not a directory", ANY, r".+ the folder .+ does not exist; .+"),
        (".", ", and is a folder", ANY, r"\.: is a folder; name a file in it"),
        ("socket", ": it is a socket", ANY, "socket: is a device; name a file"),
        ("/x" * 2500, ": File name too long", ANY, "must name a file: File name too long"),
        ("x" * 256, ": .*(File name too long|more than 255 bytes)", ANY, "must name a .+ too long"),
        ("x" * 239, ": its name may have 238 bytes, .+, and has 239", ANY, None),
        ("new/" + "ü" * 125, ": its name may have 238 bytes, .+, and has 250", ANY, None),
        ("new/" + "x" * 256, ": a name in it has more than 255 bytes", ANY, ".+ does not exist.+"),
    ],
    ids=[
        "below /proc",
        "/proc",
        "below a file",
        "a folder",
        "a socket",
        "long",
        "a name",
        "with a process",
        "bytes",
        "new",
    ],
)
def test_a_path_that_cannot_be_used_is_one_line_with_the_variable(
    path: str, writable: str, file: str, database: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mknod("socket", stat.S_IFSOCK | 0o600)
    expected = {"LOG_FILE": WRITABLE + writable, "AUDIT_CSV": WRITABLE + writable}
    expected |= dict.fromkeys(("MQTT_CA_CERT", "MQTT_CLIENT_CERT", "MQTT_CLIENT_KEY"), file)
    expected |= {} if path == "." else {"STREAMS_DIR": file}
    for name, allowed in expected.items():
        with monkeypatch.context() as environment:
            assert re.fullmatch(f"{name}=.{{1,200}}: {allowed}", fault(environment, **{name: path}))
    if database is not None:
        told = fault(monkeypatch, DATABASE_URL=f"sqlite:///{path}")
        assert re.fullmatch(f"DATABASE_URL: {database}", told)


NO_CONTROL = "must have no control characters, such as line breaks"
LOGIN_HAS = "or the login in MQTT_BROKER: must have"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mqtt_client_id": "a\nb"}, f"MQTT_CLIENT_ID=a\\u000ab: {NO_CONTROL}"),
        ({"mqtt_client_id": "a\x85b"}, f"MQTT_CLIENT_ID=a\\u0085b: {NO_CONTROL}"),
        ({"mqtt_client_id": "a\0b"}, f"MQTT_CLIENT_ID=a\\u0000b: {NO_CONTROL}"),
        ({"mqtt_client_id": "a\uffff"}, f"MQTT_CLIENT_ID=a\\uffff: {NO_CONTROL}"),
        ({"mqtt_username": "a\r"}, f"MQTT_USERNAME=a\\u000d: {NO_CONTROL}"),
        (
            {"mqtt_username": "ü" * 32_768},
            f"MQTT_USERNAME={'ü' * 200}: must have 1 to 65,535 bytes, and has 65,536",
        ),
        (
            {"mqtt_broker": f"mqtt://a%0Ab:{SECRET}@h"},
            f"MQTT_USERNAME, {LOGIN_HAS} no control characters, such as line breaks",
        ),
        (
            {"mqtt_username": "a", "mqtt_password": f"{SECRET}\0"},
            f"MQTT_PASSWORD, {LOGIN_HAS} no character U+0000",
        ),
        (
            {"mqtt_broker": f"mqtt://a:{SECRET}%00@h"},
            f"MQTT_PASSWORD, {LOGIN_HAS} no character U+0000",
        ),
        (
            {"mqtt_username": "a", "mqtt_password": SECRET * 10_000},
            f"MQTT_PASSWORD, {LOGIN_HAS} 1 to 65,535 bytes, and has 70,000",
        ),
    ],
)
def test_what_a_broker_would_not_take_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as told:
        load_settings(**values)
    assert str(told.value) == message


@pytest.mark.parametrize("name", ["LOG_FILE", "AUDIT_CSV", "MQTT_CA_CERT", "STREAMS_DIR"])
def test_a_path_with_a_null_character_is_one_line_with_the_variable(name: str) -> None:
    values: dict[str, Any] = {name.lower(): "a\0b"}
    with pytest.raises(SettingsError, match=rf"^{name}=a\\u0000b: must be "):
        load_settings(**values)


def test_what_checks_a_path_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("old.log").write_text("2026-01-01 old")
    read(monkeypatch, LOG_FILE="old.log", AUDIT_CSV="new/audit.csv")
    read(monkeypatch, LOG_FILE="/dev/null")
    assert [path.name for path in tmp_path.iterdir()] == ["old.log"]
    assert Path("old.log").read_text() == "2026-01-01 old"


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        pytest.param("MQTT_BROKER", f"user:{SECRET}@host", HOST, id="a login without a scheme"),
        pytest.param(
            "MQTT_BROKER", f"http://user:{SECRET}@host", BROKER + ESCAPES, id="another scheme"
        ),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}@", BROKER + ESCAPES, id="no host"),
        pytest.param(
            "MQTT_BROKER",
            f"mqtt://user:{SECRET}@host:99999",
            BROKER + ESCAPES,
            id="a port that is none",
        ),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}@host:0", BROKER + ESCAPES, id="port 0"),
        pytest.param(
            "MQTT_BROKER",
            f"mqtt://user:{SECRET}/x@host",
            BROKER + ESCAPES,
            id="a slash in the password",
        ),
        pytest.param(
            "MQTT_BROKER", f"mqtt://user:{SECRET}@[::1", BROKER + ESCAPES, id="an open bracket"
        ),
        pytest.param("MQTT_BROKER", "host:1883", HOST, id="a port without a scheme"),
        pytest.param("MQTT_BROKER", "host/path", HOST, id="a path without a scheme"),
        pytest.param("MQTT_BROKER", "::1", BRACKETS, id="IPv6 without brackets"),
        pytest.param("MQTT_BROKER", "fe80::1%eth0", BRACKETS, id="IPv6 of a link without brackets"),
        pytest.param(
            "MQTT_BROKER", "2001:db8::1:1883", BRACKETS, id="IPv6 and a port without brackets"
        ),
        pytest.param(
            "MQTT_BROKER",
            f"mqtt://user:{SECRET}@::1",
            BRACKETS,
            id="IPv6 without brackets in a URL",
        ),
        pytest.param(
            "MQTT_BROKER", "wss://::1:443/mqtt", BRACKETS, id="IPv6 without brackets before a path"
        ),
        pytest.param(
            "DATABASE_URL",
            f"postgresql://user:{SECRET}@::1:5432/db",
            "must have brackets around an IPv6 address, such as postgresql://[::1]:5432/name",
            id="a database at IPv6 without brackets",
        ),
        pytest.param("MQTT_BROKER", "[::1]:1883", HOST, id="IPv6 with a port"),
        pytest.param("MQTT_BROKER", "[not a host", HOST, id="only an open bracket"),
        pytest.param("MQTT_BROKER", "[::1", HOST, id="an address in half a pair of brackets"),
        pytest.param("MQTT_BROKER", "[:::]", HOST, id="no IPv6 address"),
        pytest.param("MQTT_BROKER", "mqtt://a b", BROKER, id="a space in the host"),
        pytest.param("MQTT_BROKER", "mqtt://:1883", BROKER, id="a port alone"),
        pytest.param(
            "MQTT_BROKER",
            f"mqtt://user:{SECRET}#x@host",
            BROKER + ESCAPES,
            id="a # in the password",
        ),
        pytest.param(
            "MQTT_BROKER", f"mqtt://:{SECRET}@host", LOGIN, id="a password without a name"
        ),
        pytest.param("MQTT_BROKER", "mqtt://@host", LOGIN, id="an @ without a login"),
        pytest.param("MQTT_BROKER", "mqtt://host/topic", PATH, id="a path without WebSocket"),
        pytest.param(
            "MQTT_BROKER", f"mqtt://host?token={SECRET}", QUERY, id="a query without WebSocket"
        ),
        pytest.param(
            "MQTT_BROKER",
            f"mqtts://host:8883/?token={SECRET}",
            QUERY,
            id="a query without WebSocket, by TLS",
        ),
        pytest.param("MQTT_BROKER", f"wss://host/mqtt#{SECRET}", FRAGMENT, id="a fragment"),
        pytest.param("MQTT_BROKER", "mqtts://host#", FRAGMENT, id="an empty fragment"),
        pytest.param("MQTT_BROKER", "wss://host/a b", SPACE, id="a space in the path"),
        pytest.param(
            "MQTT_BROKER", f"mqtt://user:{SECRET}\t1@host", CONTROL, id="a tab in the password"
        ),
        pytest.param("DATABASE_URL", f"oracle:{SECRET}", DATABASE, id="no database URL"),
        pytest.param(
            "DATABASE_URL", f"mssql://user:{SECRET}@host/db", DATABASES, id="another database"
        ),
        pytest.param(
            "DATABASE_URL",
            f"postgresql+asyncpg://user:{SECRET}@host/db",
            DATABASES,
            id="another driver",
        ),
        pytest.param(
            "DATABASE_URL",
            f"postgresql://user:{SECRET}@host:port/db",
            DATABASE,
            id="a database port",
        ),
        pytest.param(
            "DATABASE_URL",
            f"postgresql://user:p@ss:{SECRET}@host/db",
            DATABASE,
            id="an @ in the password",
        ),
        pytest.param(
            "DATABASE_URL",
            f"postgresql://user:p@{SECRET}@host/db",
            ONE_AT,
            id="an @ before the secret",
        ),
        pytest.param(
            "DATABASE_URL",
            f"mysql://user:p@{SECRET}@host/db",
            ONE_AT,
            id="an @ before the secret, MariaDB",
        ),
        pytest.param(
            "DATABASE_URL",
            f"postgresql://us/er:{SECRET}@host/db",
            ONE_AT,
            id="a slash in the user name",
        ),
        pytest.param(
            "DATABASE_URL", f"sqlite://user:{SECRET}@host/x.db", NO_LOGIN, id="a login for a file"
        ),
        pytest.param(
            "DATABASE_URL", f"sqlite://host/x.db?token={SECRET}", NO_LOGIN, id="a host for a file"
        ),
        pytest.param(
            "MQTT_PORT", f"mqtt://user:{SECRET}@host", INTEGER, id="a broker in another variable"
        ),
        pytest.param(
            "FLASK_HOST",
            f"wss://host/mqtt?token={SECRET}",
            ADDRESS,
            id="a signed URL in another variable",
        ),
        pytest.param(
            "CORS_ORIGINS",
            f"https://me:{SECRET}@a.example",
            f"{ORIGINS}: leave out the user name",
            id="CORS",
        ),
        pytest.param(
            "CORS_ORIGINS",
            f"me:{SECRET}@a.example",
            f"{ORIGINS}: leave out the user name",
            id="CORS without a scheme",
        ),
        pytest.param(
            "CORS_ORIGINS",
            f"https://a.example/?token={SECRET}",
            f"{ORIGINS}: 'https://a.example/' has more than scheme, host and port, or less",
            id="CORS with a query",
        ),
    ],
)
def test_a_bad_address_is_not_shown_because_it_may_hold_a_password(
    name: str, text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(monkeypatch, **{name: text}) == f"{name}: {allowed}"


MEMORY = [
    "",
    "/",
    "/:memory:",
    "/file::memory:?uri=true",
    "/file:?uri=true",
    "/file:x.db?uri=true&mode=memory",
]


@pytest.mark.parametrize("url", [f"sqlite://{rest}" for rest in MEMORY])
def test_a_database_in_memory_is_refused_because_it_would_lose_everything(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(monkeypatch, DATABASE_URL=url).startswith("DATABASE_URL: must ")


def test_each_bad_variable_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = fault(
        monkeypatch, FLASK_PORT="x", MQTT_BROKER=f"u:{SECRET}@h", FLASK_ENV="y"
    ).splitlines()
    assert lines == [
        f"MQTT_BROKER: {HOST}",
        f"FLASK_PORT=x: {INTEGER}",
        "FLASK_ENV=y: should be 'development' or 'production'",
    ]


def test_a_key_without_its_certificate_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pem").touch()
    message = fault(monkeypatch, MQTT_CLIENT_KEY="a.pem")
    assert message == "MQTT_CLIENT_KEY: requires MQTT_CLIENT_CERT, its certificate"


def test_a_password_without_a_name_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    message = fault(monkeypatch, MQTT_PASSWORD=SECRET)
    assert message == "MQTT_PASSWORD: requires MQTT_USERNAME"
    assert read(
        monkeypatch, MQTT_PASSWORD=SECRET, MQTT_USERNAME="autoforge"
    ).mqtt_password == SecretStr(SECRET)


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param({}, BrokerAddress("127.0.0.1", 1883), id="none: the embedded one"),
        pytest.param({"MQTT_BROKER": "h"}, BrokerAddress("h", 1883), id="a host"),
        pytest.param(
            {"MQTT_BROKER": "10.0.0.7"}, BrokerAddress("10.0.0.7", 1883), id="an IPv4 address"
        ),
        pytest.param({"MQTT_BROKER": "[::1]"}, BrokerAddress("::1", 1883), id="an IPv6 address"),
        pytest.param(
            {"MQTT_BROKER": "h", "MQTT_PORT": "7"},
            BrokerAddress("h", 7),
            id="a host, and MQTT_PORT",
        ),
        pytest.param({"MQTT_BROKER": "mqtt://h"}, BrokerAddress("h", 1883), id="mqtt"),
        pytest.param({"MQTT_BROKER": "mqtts://h"}, BrokerAddress("h", 8883, tls=True), id="mqtts"),
        pytest.param({"MQTT_BROKER": "ws://h"}, BrokerAddress("h", 80, "websockets"), id="ws"),
        pytest.param(
            {"MQTT_BROKER": "wss://h"}, BrokerAddress("h", 443, "websockets", tls=True), id="wss"
        ),
        pytest.param(
            {"MQTT_BROKER": "ws://h:9/x"},
            BrokerAddress("h", 9, "websockets", path="/x"),
            id="a path",
        ),
        pytest.param(
            {"MQTT_BROKER": "wss://h/mqtt?token=a%2Bb&x=1"},
            BrokerAddress("h", 443, "websockets", tls=True, path="/mqtt?token=a%2Bb&x=1"),
            id="a path and a query",
        ),
        pytest.param(
            {"MQTT_BROKER": "ws://h?x=1"},
            BrokerAddress("h", 80, "websockets", path="/mqtt?x=1"),
            id="a query",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtts://h", "MQTT_PORT": "7"},
            BrokerAddress("h", 7, tls=True),
            id="MQTT_PORT",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://h:9", "MQTT_PORT": "7"},
            BrokerAddress("h", 9),
            id="the URL's port wins",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://[::1]:9"},
            BrokerAddress("::1", 9),
            id="an IPv6 address and a port",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://me:p%40ss%2F@h"},
            BrokerAddress("h", 1883, username="me", password="p@ss/"),
            id="a login with escapes",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://me@h"},
            BrokerAddress("h", 1883, username="me"),
            id="a name alone",
        ),
        pytest.param(
            {"MQTT_BROKER": "h", "MQTT_USERNAME": "me", "MQTT_PASSWORD": SECRET},
            BrokerAddress("h", 1883, username="me", password=SECRET),
            id="a host, and a login",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://h", "MQTT_USERNAME": "me", "MQTT_PASSWORD": SECRET},
            BrokerAddress("h", 1883, username="me", password=SECRET),
            id="a URL, and a login",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://me:mine@h", "MQTT_USERNAME": "you", "MQTT_PASSWORD": SECRET},
            BrokerAddress("h", 1883, username="me", password="mine"),
            id="the URL's login wins",
        ),
        pytest.param(
            {"MQTT_BROKER": "mqtt://me@h", "MQTT_PASSWORD": SECRET},
            BrokerAddress("h", 1883, username="me", password=SECRET),
            id="a name in the URL, and MQTT_PASSWORD",
        ),
    ],
)
def test_the_broker_is_at(
    variables: dict[str, str], address: BrokerAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read(monkeypatch, **variables)
    assert settings.broker == address
    assert settings.embedded_broker is ("MQTT_BROKER" not in variables)


@pytest.mark.parametrize(
    "url", ["mqtt://h:9", "mqtts://h:9", "ws://h:9", "wss://h:9", "mqtt://[::1]:9", "ws://[::1]:9"]
)
def test_an_address_is_shown_without_the_login(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, MQTT_BROKER=url.replace("//", f"//me:{SECRET}@"))
    assert str(settings.broker) == url


def test_the_path_and_the_query_may_hold_a_secret_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = read(monkeypatch, MQTT_BROKER=f"ws://h:9/mqtt?token={SECRET}")
    assert str(settings.broker) == "ws://h:9"
    assert SECRET not in f"{settings!r}{settings.broker!r}"


@pytest.mark.broker
def test_a_websocket_asks_for_the_path_and_the_query() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as listening:
        asked = listening.submit(_accept_websocket, server)
        broker = f"ws://127.0.0.1:{server.getsockname()[1]}/mqtt?token=a%2Bb"
        settings = Settings(_env_file=None, mqtt_broker=broker)
        client = new_client(settings, "c", persistent=False)
        connect(client, settings, persistent=False)
        assert asked.result(10) == "GET /mqtt?token=a%2Bb HTTP/1.1"
        opened = client.socket()
        assert opened is not None
        opened.close()


def _accept_websocket(server: socket.socket) -> str:
    connection, _ = server.accept()
    with connection:
        request = connection.recv(4096).decode()
        (key,) = re.findall(r"Sec-Websocket-Key: (\S+)", request, re.IGNORECASE)
        proof = b64encode(
            sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        ).decode()
        answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        connection.sendall(
            "\r\n".join([*answer, f"Sec-WebSocket-Accept: {proof}", "", ""]).encode()
        )
    return request.splitlines()[0]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:5000"),
        ("::1", "[::1]:5000"),
        ("::", "[::]:5000"),
        ("localhost", "localhost:5000"),
    ],
)
def test_the_address_to_listen_on_has_brackets_for_ipv6(
    host: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(monkeypatch, FLASK_HOST=host).address == address


@pytest.mark.parametrize(
    "name", sorted(set(Settings.model_fields) - {"mqtt_username", "mqtt_password"})
)
def test_white_space_counts_as_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert getattr(read(monkeypatch, **{name.upper(): " \t"}), name) == DEFAULTS[name]


def test_a_fault_is_one_line_whatever_the_value_is(monkeypatch: pytest.MonkeyPatch) -> None:
    message = fault(monkeypatch, FLASK_PORT="a\n\x1b[31mb" + "c" * 1000)
    assert message == f"FLASK_PORT=a\\u000a\\u001b[31mb{'c' * 192}: {INTEGER}"


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("sqlite:///sensors.db", "sqlite"),
        ("postgresql://user:p%40ss@localhost:5432/autoforge", "postgresql+psycopg2"),
        ("postgres://user:p%40ss@localhost:5432/autoforge", "postgresql+psycopg2"),
        ("postgresql+psycopg2://user:p%40ss@localhost:5432/autoforge", "postgresql+psycopg2"),
        ("mysql+pymysql://user:p%40ss@localhost:3306/autoforge", "mysql+pymysql"),
        ("mysql://user:p%40ss@localhost:3306/autoforge", "mysql+pymysql"),
        ("mariadb://user:p%40ss@localhost:3306/autoforge", "mysql+pymysql"),
        ("mariadb+pymysql://user:p%40ss@localhost:3306/autoforge", "mysql+pymysql"),
    ],
)
def test_a_database_url_selects_the_driver_that_is_installed(
    text: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = read(monkeypatch, DATABASE_URL=text).url
    assert url.drivername == driver
    assert url.get_dialect()().driver == driver.partition("+")[2] or driver == "sqlite"
    assert url.password in ("p@ss", None)
    assert "p%40ss" not in str(url)


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "0.0.0.0:5000"),
        ({"PROXY_COUNT": "0"}, "0.0.0.0:5000"),
        ({"PROXY_COUNT": "1"}, "127.0.0.1:5000"),
        ({"PROXY_COUNT": "1", "FLASK_HOST": "0.0.0.0"}, "0.0.0.0:5000"),
        ({"FLASK_HOST": "::1", "FLASK_PORT": "19225"}, "[::1]:19225"),
        ({"FLASK_HOST": "::"}, "[::]:5000"),
        ({"FLASK_HOST": "example.org"}, "example.org:5000"),
    ],
)
def test_the_address_is_this_machine_alone_behind_a_proxy_and_fit_for_a_url(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None).address == address


def test_a_folder_of_the_database_that_is_not_there_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for url in (
        "nodir/x.db",
        "file:nodir/x.db?uri=true",
        f"file:{tmp_path}/nodir/x.db?uri=true&mode=rwc",
    ):
        told = fault(monkeypatch, DATABASE_URL=f"sqlite:///{url}")
        assert told.startswith("DATABASE_URL: ")
        assert told.endswith(
            f"nodir/x.db: the folder {tmp_path}/nodir does not exist; create it, or name another"
        )
    assert fault(monkeypatch, DATABASE_URL=f"sqlite:///file:{tmp_path}?uri=1").endswith(
        "is a folder; name a file in it"
    )
    assert fault(monkeypatch, DATABASE_URL=f"sqlite:///{tmp_path}").startswith(
        f"DATABASE_URL: {tmp_path}: is a folder"
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "sqlite:///other.db"},
        {"DATABASE_URL": "sqlite:///file:other.db?uri=true"},
        {},
    ],
    ids=["named", "as a URI", "by default"],
)
def test_a_database_file_with_two_names_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "sensors.db").touch()
    (tmp_path / "other.db").hardlink_to(tmp_path / "sensors.db")
    assert "the file has another name too (a hard link)" in fault(monkeypatch, **variables)
    (tmp_path / "other.db").unlink()
    (tmp_path / "other.db").symlink_to(tmp_path / "sensors.db")
    assert read(monkeypatch, **variables).url.get_backend_name() == "sqlite"


def test_a_value_that_is_no_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_CLIENT_ID", "caf\udce9")
    with pytest.raises(SettingsError, match=r"^MQTT_CLIENT_ID: must be UTF-8$"):
        load_settings()
