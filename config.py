"""Settings: the environment variables, read once and validated."""

import logging
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from utils import (
    broker_address,
    database_url,
    device_topic,
    env_file,
    listen_address,
    mqtt_text,
    origins,
    paths,
    setting_values,
    shared_files,
)
from utils.broker_address import BrokerAddress
from utils.files import others_may_read
from utils.shared_files import NamedFiles
from utils.text import printable

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

logger = logging.getLogger(__name__)
VERSION = "1.0.0"
PROJECT = Path(__file__).parent
ENV_FILE = ".env"
# Variables in `.env` that are for Docker Compose and the flask command.
_OF_OTHERS = {"POSTGRES_PASSWORD", "FLASK_APP", "FLASK_DEBUG", "FLASK_RUN_HOST", "FLASK_RUN_PORT"}
# Settings whose leading and trailing white space is significant.
_AS_THEY_ARE = {"mqtt_username", "mqtt_password"}
_SHOWN = 200
# Matches a login or a signed query in the value of any variable.
_SECRET = re.compile(r"@|://.*[?#]", re.DOTALL)


class SettingsError(Exception):
    """Variables have invalid values; the text has one line for each."""


def _origins(text: str) -> str:
    return ",".join(origins.checked(text))


Whole = Annotated[int, BeforeValidator(setting_values.whole)]
ListenAddress = Annotated[str, AfterValidator(listen_address.checked)]
PastTime = Annotated[datetime, BeforeValidator(setting_values.past)]
ExistingFile = Annotated[Path, AfterValidator(paths.existing_file)]
ExistingFolder = Annotated[Path, AfterValidator(paths.existing_folder)]
Origins = Annotated[str, AfterValidator(_origins)]
BrokerUrl = Annotated[str, AfterValidator(broker_address.checked)]
DatabaseUrl = Annotated[str, AfterValidator(database_url.checked)]
DeviceTopic = Annotated[str, AfterValidator(device_topic.checked)]
StreamNames = Annotated[str, AfterValidator(setting_values.names)]
MqttText = Annotated[str, AfterValidator(mqtt_text.accepted)]
ClientId = Annotated[str, Field(max_length=65), AfterValidator(mqtt_text.accepted)]
WritableFile = Annotated[Path, AfterValidator(paths.writable_file)]


class Settings(BaseSettings):
    """The settings in the environment and `.env`; the variables are the names in capitals."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    mqtt_broker: BrokerUrl | None = Field(None, repr=False)
    mqtt_port: Whole | None = Field(None, ge=1, le=65535)
    mqtt_username: MqttText | None = None
    mqtt_password: SecretStr | None = None
    mqtt_ca_cert: ExistingFile | None = None
    mqtt_client_cert: ExistingFile | None = None
    mqtt_client_key: ExistingFile | None = None
    mqtt_client_id: ClientId | None = None
    mqtt_protocol: Literal["3.1.1", "5"] = "3.1.1"
    mqtt_keepalive: Whole = Field(60, ge=5, le=3600)
    embedded_broker_host: ListenAddress = "127.0.0.1"
    embedded_broker_max_mb: Whole = Field(1024, ge=16, le=1_000_000)
    sensor_topic: DeviceTopic = "sensors/{device_id}/data"
    control_topic: DeviceTopic = "control/{device_id}/command"
    ack_topic: DeviceTopic = "control/{device_id}/ack"
    status_topic: DeviceTopic = "status/{device_id}"
    catch_all_topic: Annotated[str, AfterValidator(setting_values.topic_filter)] | None = None
    database_url: DatabaseUrl = Field(database_url.DEFAULT, repr=False, validate_default=True)
    streams_dir: ExistingFolder = PROJECT / "streams"
    streams: StreamNames = ""
    earliest_time: PastTime = datetime(2020, 1, 1)
    """Naive UTC; an earlier time stated by a device is not believed."""
    flask_host: ListenAddress = "0.0.0.0"  # noqa: S104 - documented default: for other machines
    flask_port: Whole = Field(5000, ge=1, le=65535)
    flask_env: Literal["development", "production"] = "production"
    cors_origins: Origins = "*"
    proxy_count: Whole = Field(0, ge=0, le=10)
    heavy_requests: Whole = Field(4, ge=1, le=100)
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        BeforeValidator(setting_values.upper),
    ] = "INFO"
    log_file: WritableFile = Path("autoforge.log")
    audit_csv: WritableFile | None = None
    audit_csv_mb: Whole = Field(10, ge=1, le=100_000)
    audit_csv_count: Whole = Field(5, ge=1, le=1_000)
    rejected_max_mb: Whole = Field(256, ge=1, le=1_000_000)
    publisher_config: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _host_behind_a_proxy(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Listen on the loopback interface by default if there is a proxy."""
        behind = str(values.get("proxy_count", "0")) != "0"
        return {"flask_host": "127.0.0.1"} | values if behind else values

    # Pydantic runs the last "before" validator first.
    @model_validator(mode="before")
    @classmethod
    def _without_white_space(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            setting_values.check_utf8(name, value)
        stripped = {
            name: value.strip() if isinstance(value, str) and name not in _AS_THEY_ARE else value
            for name, value in values.items()
        }
        return {name: value for name, value in stripped.items() if value != ""}

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if self.mqtt_client_key and not self.mqtt_client_cert:
            raise ValueError("MQTT_CLIENT_KEY: requires MQTT_CLIENT_CERT, its certificate")
        return self

    @model_validator(mode="after")
    def _login(self) -> Self:
        name, password = self.broker.username, self.broker.password
        if password and not name:
            raise ValueError("MQTT_PASSWORD: requires MQTT_USERNAME")
        # The login in MQTT_BROKER may have escapes, such as %0A.
        checks = (
            ("MQTT_USERNAME", name, mqtt_text.accepted),
            ("MQTT_PASSWORD", password, mqtt_text.sendable),
        )
        for setting, text, check in checks:
            try:
                check(text or "-")
            except ValueError as error:
                raise ValueError(f"{setting}, or the login in MQTT_BROKER: {error}") from None
        return self

    @model_validator(mode="after")
    def _no_shared_file(self) -> Self:
        certificates = ("mqtt_ca_cert", "mqtt_client_cert", "mqtt_client_key")
        broker = [self.broker_folder] if self.embedded_broker else []
        shared_files.check(
            [
                shared_files.log("LOG_FILE", self.log_file),
                shared_files.log("AUDIT_CSV", self.audit_csv),
                shared_files.database(database_url.file_in(self.database_url)),
                shared_files.published("PUBLISHER_CONFIG", self.publisher_config),
                NamedFiles("the embedded broker", broker),
                NamedFiles(ENV_FILE, [Path(ENV_FILE)], written=False),
                *(shared_files.read(name.upper(), getattr(self, name)) for name in certificates),
            ]
        )
        return self

    @model_validator(mode="after")
    def _no_foreign_file(self) -> Self:
        paths.check_content("LOG_FILE", self.log_file, paths.LOG_LINE, "a log")
        paths.check_content("AUDIT_CSV", self.audit_csv, paths.AUDIT_HEADER, "an audit trail")
        return self

    @property
    def embedded_broker(self) -> bool:
        """Whether no broker is configured, so that AutoForge runs its own."""
        return self.mqtt_broker is None

    @property
    def broker(self) -> BrokerAddress:
        """The broker address, from MQTT_BROKER, MQTT_PORT, MQTT_USERNAME and MQTT_PASSWORD."""
        password = self.mqtt_password.get_secret_value() if self.mqtt_password else None
        text = self.mqtt_broker or broker_address.local(self.embedded_broker_host)
        return broker_address.address(text, self.mqtt_port, self.mqtt_username, password)

    @property
    def broker_folder(self) -> Path:
        """The store of the embedded broker, next to the SQLite file or in the working directory."""
        return Path(f"{database_url.file_in(self.database_url) or 'autoforge'}.broker").absolute()

    @property
    def address(self) -> str:
        """Host and port of the HTTP server as in a URL, with an IPv6 address in brackets."""
        host = f"[{self.flask_host}]" if ":" in self.flask_host else self.flask_host
        return f"{host}:{self.flask_port}"

    @property
    def origins(self) -> list[str]:
        """The origins that may use the API, from CORS_ORIGINS; `*` for all."""
        return self.cors_origins.split(",")

    @property
    def url(self) -> "URL":
        """The database URL; its `str()` hides the password."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415 - for programs without a database

        return make_url(self.database_url)


def load_settings(kind: type[Settings] = Settings, **overrides: Any) -> Settings:
    """Read the environment and `.env`; `kind` may be a subclass with other defaults.

    Raises SettingsError naming each invalid variable and what it allows.
    """
    if overrides.get("_env_file", ENV_FILE) is not None:
        _env_file()
    try:
        return kind(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_message(dict(one)) for one in error.errors())) from None


def check_listening(setting: str, host: str) -> None:
    """Raise SettingsError unless a server can listen at the address in a setting."""
    try:
        listen_address.check_own(host)
    except ValueError as error:
        raise SettingsError(f"{setting}={host}: {error}") from error


def warn_of_unknown_settings() -> None:
    """Log the unknown names in `.env` in one line. Raises SettingsError."""
    known = {name.upper() for name in Settings.model_fields}
    names = ", ".join(env_file.unknown(_env_file(), known | _OF_OTHERS))
    if names:
        logger.warning("%s: unknown settings are ignored: %s", ENV_FILE, names)


def _env_file() -> dict[str, str]:
    file = Path(ENV_FILE)
    try:
        return env_file.values(file.read_bytes()) if file.is_file() else {}
    except OSError as error:
        raise SettingsError(f"{ENV_FILE}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{ENV_FILE}: {error}") from None


def warn_of_exposed_files(settings: Settings) -> None:
    """Log a line for each secret file that every user of this machine may read."""
    for name, file in ((".env", Path(".env")), ("MQTT_CLIENT_KEY", settings.mqtt_client_key)):
        if file is not None and others_may_read(file):
            text = "%s: every user of this machine can read it. Run: chmod 600 %s"
            logger.warning(text, name, shlex.quote(str(file)))


def _message(error: dict[str, Any]) -> str:
    allowed = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if not error["loc"]:
        return allowed
    name = str(error["loc"][0]).upper()
    value = str(error["input"])
    secret = name in ("DATABASE_URL", "MQTT_BROKER", "MQTT_PASSWORD") or _SECRET.search(value)
    shown = "" if secret else f"={printable(value[:_SHOWN])}"
    return f"{name}{shown}: {allowed}"
