"""Settings: every environment variable, read once, with a message that names a bad one."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

VERSION = "1.0.0"
PROJECT = Path(__file__).parent
DEFAULT_DATABASE = "sqlite:///sensors.db"
_SCHEMES = {
    "mqtt": ("tcp", False, 1883),
    "mqtts": ("tcp", True, 8883),
    "ws": ("websockets", False, 80),
    "wss": ("websockets", True, 443),
}
_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg2",
    "postgres": "postgresql+psycopg2",
    "postgresql+psycopg2": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}


class SettingsError(Exception):
    """A variable has a value that cannot be used; the text has one line for each."""


@dataclass(frozen=True)
class BrokerAddress:
    """Where the MQTT broker is and how to reach it."""

    host: str
    port: int
    transport: Literal["tcp", "websockets"] = "tcp"
    tls: bool = False
    path: str = "/mqtt"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        scheme = {("tcp", False): "mqtt", ("tcp", True): "mqtts", ("websockets", False): "ws"}
        return f"{scheme.get((self.transport, self.tls), 'wss')}://{self.host}:{self.port}"


def _database_url(text: str) -> str:
    if text == DEFAULT_DATABASE:
        return text
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - 12 MB, which a program without a database need not have
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ValueError("must be a URL such as sqlite:///sensors.db") from error
    if url.drivername not in _DRIVERS:
        raise ValueError("must begin with sqlite:///, postgresql:// or mysql+pymysql://")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("must name a file, such as sqlite:///sensors.db")
    return url.set(drivername=_DRIVERS[url.drivername]).render_as_string(hide_password=False)


def _broker(text: str) -> str:
    if "://" not in text:
        if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\s/:@#?\[\]]+", text):
            raise ValueError("must be a host name, or a URL such as mqtts://host:8883 (the port goes into MQTT_PORT)")
        return text
    try:
        parts = urlsplit(text)
        plain = parts.scheme in ("ws", "wss") or parts.path in ("", "/")
        valid = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0 and plain
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be a host name or mqtt://, mqtts://, ws:// or wss://host:port/path")
    return text


def _topic_with_device(text: str) -> str:
    levels = text.split("/")
    plain = [level for level in levels if level not in ("+", "{device_id}")]
    if len(plain) != len(levels) - 1 or "" in levels or set("".join(plain)) & set("+#{}"):
        raise ValueError('must be a topic with exactly one level "+", which is the device id')
    return text.replace("+", "{device_id}")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("must be the path of a file that exists")
    return path


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError("must be the path of a folder that exists")
    return path


def _writable(path: Path) -> Path:
    nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    below_a_file = nearest != path.absolute() and not nearest.is_dir()
    if path.is_dir() or below_a_file or not os.access(nearest, os.W_OK):
        raise ValueError("must be a file that can be written")
    return path


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


ExistingFile = Annotated[Path, AfterValidator(_file)]
DeviceTopic = Annotated[str, AfterValidator(_topic_with_device)]
WritableFile = Annotated[Path, AfterValidator(_writable)]


class Settings(BaseSettings):
    """What the environment and `.env` say; the variables are these names in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    mqtt_broker: Annotated[str, AfterValidator(_broker)] | None = Field(None, repr=False)
    mqtt_port: int | None = Field(None, ge=1, le=65535)
    mqtt_username: str | None = None
    mqtt_password: SecretStr | None = None
    mqtt_ca_cert: ExistingFile | None = None
    mqtt_client_cert: ExistingFile | None = None
    mqtt_client_key: ExistingFile | None = None
    mqtt_client_id: str | None = Field(None, max_length=65)
    mqtt_protocol: Literal["3.1.1", "5"] = "3.1.1"
    mqtt_keepalive: int = Field(60, ge=5, le=3600)
    sensor_topic: DeviceTopic = "sensors/{device_id}/data"
    control_topic: DeviceTopic = "control/{device_id}/command"
    ack_topic: DeviceTopic = "control/{device_id}/ack"
    status_topic: DeviceTopic = "status/{device_id}"
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(DEFAULT_DATABASE, repr=False)
    streams_dir: Annotated[Path, AfterValidator(_folder)] = PROJECT / "streams"
    flask_host: str = "0.0.0.0"  # noqa: S104 - documented default: devices and dashboards are on other machines
    flask_port: int = Field(5000, ge=1, le=65535)
    flask_env: Literal["development", "production"] = "production"
    cors_origins: str = "*"
    proxy_count: int = Field(0, ge=0, le=10)
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    log_file: WritableFile = Path("autoforge.log")
    audit_csv: WritableFile | None = None
    publisher_config: Path | None = None

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if self.mqtt_client_key and not self.mqtt_client_cert:
            raise ValueError("MQTT_CLIENT_KEY: needs MQTT_CLIENT_CERT, the certificate that belongs to it")
        return self

    @model_validator(mode="after")
    def _password_with_name(self) -> Self:
        if self.broker.password and not self.broker.username:
            raise ValueError("MQTT_PASSWORD: needs MQTT_USERNAME, the name that it belongs to")
        return self

    @property
    def embedded_broker(self) -> bool:
        """Whether no broker is configured, so that AutoForge brings its own."""
        return self.mqtt_broker is None

    @property
    def broker(self) -> BrokerAddress:
        """The broker's address, from MQTT_BROKER, MQTT_PORT, MQTT_USERNAME and MQTT_PASSWORD."""
        password = self.mqtt_password.get_secret_value() if self.mqtt_password else None
        login = (self.mqtt_username, password)
        text = self.mqtt_broker or "127.0.0.1"
        if "://" not in text:
            return BrokerAddress(text.strip("[]"), self.mqtt_port or 1883, username=login[0], password=login[1])
        url = urlsplit(text)
        transport, tls, port = _SCHEMES[url.scheme]
        if url.username:
            login = (unquote(url.username), unquote(url.password) if url.password else password)
        return BrokerAddress(
            host=str(url.hostname),
            port=url.port or self.mqtt_port or port,
            transport="websockets" if transport == "websockets" else "tcp",
            tls=tls,
            path=url.path or "/mqtt",
            username=login[0],
            password=login[1],
        )

    @property
    def origins(self) -> list[str]:
        """The web pages that may ask, from CORS_ORIGINS; `*` for all."""
        return [origin.strip() for origin in self.cors_origins.split(",")]

    @property
    def url(self) -> "URL":
        """The database's URL; its `str()` hides the password."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415

        return make_url(self.database_url)


def load_settings(kind: type[Settings] = Settings, **overrides: Any) -> Settings:
    """Read the environment and `.env`; another kind has other defaults.

    Raises SettingsError naming each bad variable and what it allows.
    """
    try:
        return kind(**overrides)
    except UnicodeDecodeError as error:
        raise SettingsError(f".env: must be UTF-8 text: byte {error.start} is not") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(dict(fault)) for fault in error.errors())) from None


def _sentence(fault: dict[str, Any]) -> str:
    allowed = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if not fault["loc"]:
        return allowed
    name = str(fault["loc"][0]).upper()
    secret = name in ("DATABASE_URL", "MQTT_BROKER", "MQTT_PASSWORD")
    shown = "" if secret else f"={fault['input']}"
    return f"{name}{shown}: {allowed}"
