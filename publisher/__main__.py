"""`python -m publisher`: publish configured payloads, each at its own interval."""

import argparse
import contextlib
import os
import queue
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config import (
    Settings,
    SettingsError,
    WritableFile,
    load_settings,
    warn_of_exposed_files,
    warn_of_unknown_settings,
)
from publisher.loader import DEFAULT_PATH, ConfigurationError
from publisher.service import AlreadyPublished, PublisherService
from publisher.status import summary, table
from utils import logger
from utils.files import keep_private
from utils.signals import ignore

DEFAULT_LOG = Path("logs/mqtt_publisher.log")
_ALIVE_SECONDS = 1.0
_FAILED, _UNUSABLE = 1, 2
_OPTIONS = {
    "broker": ("HOST", "host name or URL (default: MQTT_BROKER, or localhost)"),
    "port": ("N", "(default: MQTT_PORT, or 1883, with TLS 8883)"),
    "username": ("NAME", "login at the broker (default: MQTT_USERNAME)"),
    "password": ("TEXT", "better use MQTT_PASSWORD: other users can see the command line"),
    "ca_cert": ("FILE", "the CA that signed the broker's certificate; implies --tls"),
    "client_cert": ("FILE", "the client certificate for the broker"),
    "client_key": ("FILE", "the key of the client certificate"),
    "config": ("FILE", f"(default: PUBLISHER_CONFIG, or {DEFAULT_PATH})"),
}
_SWITCHES = {
    "tls": "encrypt, and check the broker's certificate",
    "status": "show the status of the publisher of this file",
}


class PublisherSettings(Settings):
    """The backend's settings, with another default log file."""

    log_file: WritableFile = DEFAULT_LOG


def main(arguments: list[str] | None = None) -> int:
    """Publish until Ctrl-C or SIGTERM; SIGHUP reads the file again. Return the exit code."""
    options = _parser().parse_args(arguments)
    keep_private()
    try:
        settings = _settings(options)
        service = PublisherService(settings, options.config)
        if options.status:
            status = service.get_status()
            print(summary(status), *table(status), sep="\n")
            return 0
        # Two processes that rotate one log lose lines, and LOG_FILE may be the backend's.
        own = settings.log_file == DEFAULT_LOG
        logger.configure(settings.log_level, settings.log_file, "" if own else "publisher")
        warn_of_unknown_settings()
        warn_of_exposed_files(settings)
        return _publish(service)
    except (SettingsError, ConfigurationError, AlreadyPublished) as error:
        print(error, file=sys.stderr)
        return _UNUSABLE


def _publish(service: PublisherService) -> int:
    # The handler is C code, as in utils/signals.py: it cannot wait for a lock of its own thread.
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    handler: Callable[..., None] = signals.put
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
    service.start()
    code = _FAILED
    while code and service.alive:
        with contextlib.suppress(queue.Empty):
            if signals.get(timeout=_ALIVE_SECONDS) == signal.SIGHUP:
                service.reload_config()
            else:
                code = 0
    service.stop()
    ignore()
    return code


def _settings(options: argparse.Namespace) -> Settings:
    """Return the environment's settings with the command line's. Raises SettingsError."""
    named = {f"mqtt_{name}": getattr(options, name) for name in _OPTIONS if name != "config"}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if options.status:
        given["log_file"] = Path(os.devnull)  # the user may not be allowed to write the log
    settings = load_settings(PublisherSettings, **given)
    broker = settings.mqtt_broker or "localhost"
    if (options.tls or options.ca_cert) and not settings.broker.tls:
        if "://" in broker:
            text = f"--tls: the broker is {settings.broker}, which is not encrypted"
            raise SettingsError(f"{text}; mqtts:// and wss:// are")
        broker = f"mqtts://{broker}"
    return load_settings(PublisherSettings, **given | {"mqtt_broker": broker})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m publisher", description=__doc__)
    for name, (metavar, text) in _OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    for name, text in _SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
