"""Settings: what each variable may say, its default, and the one line that names a bad one."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from config import PROJECT, BrokerAddress, Settings, SettingsError, load_settings

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
    "sensor_topic": "sensors/{device_id}/data",
    "control_topic": "control/{device_id}/command",
    "ack_topic": "control/{device_id}/ack",
    "status_topic": "status/{device_id}",
    "database_url": "sqlite:///sensors.db",
    "streams_dir": PROJECT / "streams",
    "flask_host": "0.0.0.0",
    "flask_port": 5000,
    "flask_env": "production",
    "cors_origins": "*",
    "proxy_count": 0,
    "log_level": "INFO",
    "log_file": Path("autoforge.log"),
    "audit_csv": None,
    "publisher_config": None,
}
HOST = "must be a host name, or a URL such as mqtts://host:8883 (the port goes into MQTT_PORT)"
BROKER = "must be a host name or mqtt://, mqtts://, ws:// or wss://host:port/path"
DATABASE = "must be a URL such as sqlite:///sensors.db"
DATABASES = "must begin with sqlite:///, postgresql:// or mysql+pymysql://"
TOPIC = 'must be a topic with exactly one level "+", which is the device id'
INTEGER = "should be a valid integer, unable to parse string as an integer"


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
        ("DATABASE_URL", "sqlite:////var/lib/autoforge/sensors.db", "sqlite:////var/lib/autoforge/sensors.db"),
        ("STREAMS_DIR", ".", Path()),
        ("FLASK_HOST", "::1", "::1"),
        ("FLASK_PORT", "65535", 65535),
        ("FLASK_ENV", "development", "development"),
        ("CORS_ORIGINS", "https://a.example,https://b.example", "https://a.example,https://b.example"),
        ("PROXY_COUNT", "2", 2),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_FILE", "logs/x.log", Path("logs/x.log")),
        ("AUDIT_CSV", "trail/audit.csv", Path("trail/audit.csv")),
    ],
)
def test_it_reads(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pem").touch()
    assert getattr(read(monkeypatch, **{name: text}), name.lower()) == value


def test_it_reads_a_key_with_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pem").touch()
    assert read(monkeypatch, MQTT_CLIENT_CERT="a.pem", MQTT_CLIENT_KEY="a.pem").mqtt_client_key == Path("a.pem")


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
        ("SENSOR_TOPIC", "sensors/data", TOPIC),
        ("SENSOR_TOPIC", "sensors/+/+", TOPIC),
        ("SENSOR_TOPIC", "sensors/+/{device_id}", TOPIC),
        ("SENSOR_TOPIC", "sensors/+/#", TOPIC),
        ("SENSOR_TOPIC", "sensors//+", TOPIC),
        ("SENSOR_TOPIC", "a+b/+", TOPIC),
        ("CONTROL_TOPIC", "control", TOPIC),
        ("CONTROL_TOPIC", "a+b/+", TOPIC),
        ("ACK_TOPIC", "control/ack", TOPIC),
        ("ACK_TOPIC", "control/+/ack/#", TOPIC),
        ("ACK_TOPIC", "control/{device}/ack", TOPIC),
        ("STATUS_TOPIC", "status/+/+", TOPIC),
        ("STATUS_TOPIC", "status/+/", TOPIC),
        ("STREAMS_DIR", "no-folder", "must be the path of a folder that exists"),
        ("FLASK_PORT", "5.5", INTEGER),
        ("FLASK_PORT", "-1", "should be greater than or equal to 1"),
        ("FLASK_ENV", "staging", "should be 'development' or 'production'"),
        ("PROXY_COUNT", "11", "should be less than or equal to 10"),
        ("LOG_LEVEL", "LOUD", "should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
    ],
)
def test_a_bad_value_is_one_line_with_variable_value_and_what_is_allowed(
    name: str, text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(monkeypatch, **{name: text}) == f"{name}={text}: {allowed}"


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        pytest.param("MQTT_BROKER", f"user:{SECRET}@host", HOST, id="a login without a scheme"),
        pytest.param("MQTT_BROKER", f"http://user:{SECRET}@host", BROKER, id="another scheme"),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}@", BROKER, id="no host"),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}@host:99999", BROKER, id="a port that is none"),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}@host:0", BROKER, id="port 0"),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}/x@host", BROKER, id="a slash in the password"),
        pytest.param("MQTT_BROKER", f"mqtt://user:{SECRET}@[::1", BROKER, id="an open bracket"),
        pytest.param("MQTT_BROKER", "host:1883", HOST, id="a port without a scheme"),
        pytest.param("MQTT_BROKER", "host/path", HOST, id="a path without a scheme"),
        pytest.param("MQTT_BROKER", "::1", HOST, id="IPv6 without brackets"),
        pytest.param("MQTT_BROKER", "[::1]:1883", HOST, id="IPv6 with a port"),
        pytest.param("MQTT_BROKER", "[not a host", HOST, id="only an open bracket"),
        pytest.param("DATABASE_URL", f"oracle:{SECRET}", DATABASE, id="no database URL"),
        pytest.param("DATABASE_URL", f"mssql://user:{SECRET}@host/db", DATABASES, id="another database"),
        pytest.param("DATABASE_URL", f"postgresql+asyncpg://user:{SECRET}@host/db", DATABASES, id="another driver"),
        pytest.param("DATABASE_URL", f"postgresql://user:{SECRET}@host:port/db", DATABASE, id="a database port"),
        pytest.param("DATABASE_URL", f"postgresql://user:p@ss:{SECRET}@host/db", DATABASE, id="an @ in the password"),
    ],
)
def test_a_bad_address_is_not_shown_because_it_may_hold_a_password(
    name: str, text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(monkeypatch, **{name: text}) == f"{name}: {allowed}"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused_because_it_would_lose_everything(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(monkeypatch, DATABASE_URL=url).startswith("DATABASE_URL: must ")


def test_each_bad_variable_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = fault(monkeypatch, FLASK_PORT="x", MQTT_BROKER=f"u:{SECRET}@h", FLASK_ENV="y").splitlines()
    assert lines == [
        f"MQTT_BROKER: {HOST}",
        f"FLASK_PORT=x: {INTEGER}",
        "FLASK_ENV=y: should be 'development' or 'production'",
    ]


def test_a_key_without_its_certificate_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pem").touch()
    message = fault(monkeypatch, MQTT_CLIENT_KEY="a.pem")
    assert message == "MQTT_CLIENT_KEY: needs MQTT_CLIENT_CERT, the certificate that belongs to it"


def test_a_password_without_a_name_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    message = fault(monkeypatch, MQTT_PASSWORD=SECRET)
    assert message == "MQTT_PASSWORD: needs MQTT_USERNAME, the name that it belongs to"
    assert read(monkeypatch, MQTT_PASSWORD=SECRET, MQTT_USERNAME="autoforge").mqtt_password == SecretStr(SECRET)


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param({}, BrokerAddress("127.0.0.1", 1883), id="none: the embedded one"),
        pytest.param({"MQTT_BROKER": "h"}, BrokerAddress("h", 1883), id="a host"),
        pytest.param({"MQTT_BROKER": "10.0.0.7"}, BrokerAddress("10.0.0.7", 1883), id="an IPv4 address"),
        pytest.param({"MQTT_BROKER": "[::1]"}, BrokerAddress("::1", 1883), id="an IPv6 address"),
        pytest.param({"MQTT_BROKER": "h", "MQTT_PORT": "7"}, BrokerAddress("h", 7), id="a host, and MQTT_PORT"),
        pytest.param({"MQTT_BROKER": "mqtt://h"}, BrokerAddress("h", 1883), id="mqtt"),
        pytest.param({"MQTT_BROKER": "mqtts://h"}, BrokerAddress("h", 8883, tls=True), id="mqtts"),
        pytest.param({"MQTT_BROKER": "ws://h"}, BrokerAddress("h", 80, "websockets"), id="ws"),
        pytest.param({"MQTT_BROKER": "wss://h"}, BrokerAddress("h", 443, "websockets", tls=True), id="wss"),
        pytest.param({"MQTT_BROKER": "ws://h:9/x"}, BrokerAddress("h", 9, "websockets", path="/x"), id="a path"),
        pytest.param({"MQTT_BROKER": "mqtts://h", "MQTT_PORT": "7"}, BrokerAddress("h", 7, tls=True), id="MQTT_PORT"),
        pytest.param({"MQTT_BROKER": "mqtt://h:9", "MQTT_PORT": "7"}, BrokerAddress("h", 9), id="the URL's port wins"),
        pytest.param({"MQTT_BROKER": "mqtt://[::1]:9"}, BrokerAddress("::1", 9), id="an IPv6 address and a port"),
        pytest.param(
            {"MQTT_BROKER": "mqtt://me:p%40ss%2F@h"},
            BrokerAddress("h", 1883, username="me", password="p@ss/"),
            id="a login with escapes",
        ),
        pytest.param({"MQTT_BROKER": "mqtt://me@h"}, BrokerAddress("h", 1883, username="me"), id="a name alone"),
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
def test_the_broker_is_at(variables: dict[str, str], address: BrokerAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **variables)
    assert settings.broker == address
    assert settings.embedded_broker is ("MQTT_BROKER" not in variables)


@pytest.mark.parametrize("url", ["mqtt://h:9", "mqtts://h:9", "ws://h:9", "wss://h:9"])
def test_an_address_is_shown_without_the_login(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, MQTT_BROKER=url.replace("//", f"//me:{SECRET}@"))
    assert str(settings.broker) == url


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


def test_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MQTT_BROKER=of-file\nFLASK_PORT=8000\nLOG_LEVEL=\nUNKNOWN=1\n")
    settings = read(monkeypatch, FLASK_PORT="9000")
    assert (settings.mqtt_broker, settings.flask_port, settings.log_level) == ("of-file", 9000, "INFO")


def test_an_empty_variable_leaves_what_env_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("FLASK_PORT=8000\n")
    assert read(monkeypatch, FLASK_PORT="").flask_port == 8000


def test_a_fault_in_env_file_is_named_as_one_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("FLASK_PORT=x\n")
    assert fault(monkeypatch) == f"FLASK_PORT=x: {INTEGER}"


def test_an_env_file_that_is_not_utf_8_is_a_fault_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_bytes("# Gerät\nFLASK_PORT=8000\n".encode("latin-1"))
    message = fault(monkeypatch)
    assert message.startswith(".env: ")
    assert "UTF-8" in message
