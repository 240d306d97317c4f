"""Settings: every environment variable, read once, with a message that names a bad one."""

import logging
import os
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from utils import broker_address, clock, database_url, device_topic, env_file, origins
from utils.broker_address import BrokerAddress
from utils.files import others_may_read
from utils.text import printable

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

logger = logging.getLogger(__name__)
VERSION = "1.0.0"
PROJECT = Path(__file__).parent
ENV_FILE = ".env"
_OF_OTHERS = {"POSTGRES_PASSWORD", "FLASK_APP", "FLASK_DEBUG", "FLASK_RUN_HOST", "FLASK_RUN_PORT"}
"""What a `.env` may say to Docker Compose and to the command `flask`."""
_AS_THEY_ARE = {"mqtt_username", "mqtt_password"}
"""Settings of which white space at the ends is a part."""
_WHOLE_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?")
_SHOWN = 200
_SECRET = re.compile(r"@|://.*[?#]", re.DOTALL)
"""A login or a signed query, whichever variable it was put into."""


class SettingsError(Exception):
    """A variable has a value that cannot be used; the text has one line for each."""


def _utf8(name: str, value: object) -> None:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name.upper()}: must be UTF-8") from None


def _filter(text: str) -> str:
    levels = text.split("/")
    whole = all(level in ("+", "#") or not set(level) & set("+#") for level in levels)
    if not whole or "#" in levels[:-1] or not levels[0] or levels[0].startswith("$") or "\0" in text:
        raise ValueError('must be one topic filter such as "#" or "site/#", and not begin with / or $')
    return "#" if text == "+/#" else text


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("must be the path of a file that exists")
    return path


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError("must be the path of a folder that exists")
    return path


def _writable(path: Path) -> Path:
    nearest = next(ancestor for ancestor in (path.absolute(), *path.absolute().parents) if ancestor.exists())
    below_a_file = nearest != path.absolute() and not nearest.is_dir()
    if path.is_dir() or below_a_file or not os.access(nearest, os.W_OK):
        raise ValueError("must be a file that can be written")
    return path


def _origins(text: str) -> str:
    return ",".join(origins.checked(text))


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _whole(value: object) -> object:
    if isinstance(value, str) and not _WHOLE_NUMBER.fullmatch(value):
        raise ValueError("must be a whole number")
    return value


def _past(value: object) -> object:
    allowed = "must be a date or a time in the past, such as 2020-01-01 or 2020-01-01T06:00:00Z"
    if not isinstance(value, str):
        return value
    try:
        timestamp = clock.naive_utc(datetime.fromisoformat(value))
    except ValueError as error:
        raise ValueError(allowed) from error
    if timestamp > clock.now():
        raise ValueError(allowed)
    return timestamp


def _listening(host: str) -> str:
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not _HOST.fullmatch(plain):
        raise ValueError("must be an address such as 127.0.0.1 or ::1, without a port")
    return plain


Whole = Annotated[int, BeforeValidator(_whole)]
ListenAddress = Annotated[str, AfterValidator(_listening)]
Moment = Annotated[datetime, BeforeValidator(_past)]
ExistingFile = Annotated[Path, AfterValidator(_file)]
Origins = Annotated[str, AfterValidator(_origins)]
DatabaseUrl = Annotated[str, AfterValidator(database_url.checked)]
DeviceTopic = Annotated[str, AfterValidator(device_topic.checked)]
WritableFile = Annotated[Path, AfterValidator(_writable)]


class Settings(BaseSettings):
    """What the environment and `.env` say; the variables are these names in capitals."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    mqtt_broker: Annotated[str, AfterValidator(broker_address.checked)] | None = Field(None, repr=False)
    mqtt_port: Whole | None = Field(None, ge=1, le=65535)
    mqtt_username: str | None = None
    mqtt_password: SecretStr | None = None
    mqtt_ca_cert: ExistingFile | None = None
    mqtt_client_cert: ExistingFile | None = None
    mqtt_client_key: ExistingFile | None = None
    mqtt_client_id: str | None = Field(None, max_length=65)
    mqtt_protocol: Literal["3.1.1", "5"] = "3.1.1"
    mqtt_keepalive: Whole = Field(60, ge=5, le=3600)
    embedded_broker_host: ListenAddress = "127.0.0.1"
    embedded_broker_max_mb: Whole = Field(1024, ge=16, le=1_000_000)
    sensor_topic: DeviceTopic = "sensors/{device_id}/data"
    control_topic: DeviceTopic = "control/{device_id}/command"
    ack_topic: DeviceTopic = "control/{device_id}/ack"
    status_topic: DeviceTopic = "status/{device_id}"
    catch_all_topic: Annotated[str, AfterValidator(_filter)] | None = None
    database_url: DatabaseUrl = Field(database_url.DEFAULT, repr=False, validate_default=True)
    streams_dir: Annotated[Path, AfterValidator(_folder)] = PROJECT / "streams"
    earliest_time: Moment = datetime(2020, 1, 1)
    """Naive UTC; a device's time before it is not believed."""
    flask_host: ListenAddress = "0.0.0.0"  # noqa: S104 - documented default: devices and dashboards are elsewhere
    flask_port: Whole = Field(5000, ge=1, le=65535)
    flask_env: Literal["development", "production"] = "production"
    cors_origins: Origins = "*"
    proxy_count: Whole = Field(0, ge=0, le=10)
    heavy_requests: Whole = Field(4, ge=1, le=100)
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    log_file: WritableFile = Path("autoforge.log")
    audit_csv: WritableFile | None = None
    audit_csv_mb: Whole = Field(10, ge=1, le=100_000)
    audit_csv_count: Whole = Field(5, ge=1, le=1_000)
    rejected_max_mb: Whole = Field(256, ge=1, le=1_000_000)
    publisher_config: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _host_behind_a_proxy(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Listen where only the proxy is, unless told otherwise."""
        behind = str(values.get("proxy_count", "0")) != "0"
        return {"flask_host": "127.0.0.1"} | values if behind else values

    # The last of these runs first.
    @model_validator(mode="before")
    @classmethod
    def _without_white_space(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            _utf8(name, value)
        stripped = {
            name: value.strip() if isinstance(value, str) and name not in _AS_THEY_ARE else value
            for name, value in values.items()
        }
        return {name: value for name, value in stripped.items() if value != ""}

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
        text = self.mqtt_broker or broker_address.local(self.embedded_broker_host)
        return broker_address.address(text, self.mqtt_port, self.mqtt_username, password)

    @property
    def broker_folder(self) -> Path:
        """Where the embedded broker keeps its messages: beside the SQLite file, or in the working directory."""
        return Path(f"{database_url.file_in(self.database_url) or 'autoforge'}.broker").absolute()

    @property
    def address(self) -> str:
        """Where HTTP is served, as URLs have it: an IPv6 address is in brackets."""
        host = f"[{self.flask_host}]" if ":" in self.flask_host else self.flask_host
        return f"{host}:{self.flask_port}"

    @property
    def origins(self) -> list[str]:
        """The web pages that may ask, from CORS_ORIGINS; `*` for all."""
        return self.cors_origins.split(",")

    @property
    def url(self) -> "URL":
        """The database's URL; its `str()` hides the password."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415 - for programs without a database

        return make_url(self.database_url)


def load_settings(kind: type[Settings] = Settings, **overrides: Any) -> Settings:
    """Read the environment and `.env`; another kind has other defaults.

    Raises SettingsError naming each bad variable and what it allows.
    """
    if overrides.get("_env_file", ENV_FILE) is not None:
        _env_file()
    try:
        return kind(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(dict(fault)) for fault in error.errors())) from None


def warn_of_unknown_settings() -> None:
    """Log the names in `.env` that are no setting, in one line. Raises SettingsError."""
    known = {name.upper() for name in Settings.model_fields}
    names = ", ".join(env_file.unknown(_env_file(), known | _OF_OTHERS))
    if names:
        logger.warning("%s: not a setting of AutoForge, and not used: %s", ENV_FILE, names)


def _env_file() -> dict[str, str]:
    file = Path(ENV_FILE)
    try:
        return env_file.values(file.read_bytes()) if file.is_file() else {}
    except OSError as error:
        raise SettingsError(f"{ENV_FILE}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{ENV_FILE}: {error}") from None


def warn_of_exposed_files(settings: Settings) -> None:
    """Log a line for each file with a secret that every user of this machine may read."""
    for name, file in ((".env", Path(".env")), ("MQTT_CLIENT_KEY", settings.mqtt_client_key)):
        if file is not None and others_may_read(file):
            logger.warning("%s: every user of this machine may read it. Run: chmod 600 %s", name, file)


def _sentence(fault: dict[str, Any]) -> str:
    allowed = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if not fault["loc"]:
        return allowed
    name = str(fault["loc"][0]).upper()
    value = str(fault["input"])
    secret = name in ("DATABASE_URL", "MQTT_BROKER", "MQTT_PASSWORD") or _SECRET.search(value)
    shown = "" if secret else f"={printable(value[:_SHOWN])}"
    return f"{name}{shown}: {allowed}"
