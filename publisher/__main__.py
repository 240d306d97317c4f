"""`python -m publisher`: publish configured payloads, each at its own interval, with a last will."""

import argparse
import contextlib
import os
import queue
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config import Settings, SettingsError, WritableFile, load_settings, warn_of_exposed_files, warn_of_unknown_settings
from publisher.loader import DEFAULT_PATH, ConfigurationError
from publisher.service import AlreadyPublished, PublisherService
from publisher.status import summary, table
from utils import logger
from utils.files import keep_private
from utils.signals import ignore

DEFAULT_LOG = Path("logs/mqtt_publisher.log")
_ALIVE_SECONDS = 1.0
_FAILED = 1
_UNUSABLE = 2


class PublisherSettings(Settings):
    """As the backend's, but with a log of its own where none is named."""

    log_file: WritableFile = DEFAULT_LOG


def main(arguments: list[str] | None = None) -> int:
    """Publish until Ctrl-C or SIGTERM; SIGHUP reads the file again. The exit code is 2 if it cannot start."""
    options = _parser().parse_args(arguments)
    keep_private()
    try:
        settings = _settings(options)
        service = PublisherService(settings, options.config)
        if options.status:
            return _show(service)
        # A log that the settings name may be another process's too, and two that rotate one file lose lines.
        own = settings.log_file == DEFAULT_LOG
        logger.configure(settings.log_level, settings.log_file, "" if own else "publisher")
        warn_of_unknown_settings()
        warn_of_exposed_files(settings)
        return _publish(service)
    except (SettingsError, ConfigurationError, AlreadyPublished) as error:
        print(error, file=sys.stderr)
        return _UNUSABLE


def _publish(service: PublisherService) -> int:
    # The handler is C, as in utils/signals.py: nothing interrupts it, and it waits for no lock of its own thread.
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


def _show(service: PublisherService) -> int:
    status = service.get_status()
    print(summary(status))
    for line in table(status):
        print(line)
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    """The environment's, unless the command line says otherwise. Raises SettingsError."""
    named = {
        "mqtt_broker": options.broker,
        "mqtt_port": options.port,
        "mqtt_username": options.username,
        "mqtt_password": options.password,
        "mqtt_ca_cert": options.ca_cert,
        "mqtt_client_cert": options.client_cert,
        "mqtt_client_key": options.client_key,
    }
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if options.status:
        given["log_file"] = Path(os.devnull)  # it logs nothing, and may be somebody who may not write there
    settings = load_settings(PublisherSettings, **given)
    broker = settings.mqtt_broker or "localhost"
    if (options.tls or options.ca_cert) and not settings.broker.tls:
        if "://" in broker:
            raise SettingsError(
                f"--tls: the broker is {settings.broker}, which is not encrypted; mqtts:// and wss:// are"
            )
        broker = f"mqtts://{broker}"
    return load_settings(PublisherSettings, **given | {"mqtt_broker": broker})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m publisher", description=__doc__)
    parser.add_argument("--broker", metavar="HOST", help="host name or URL (default: MQTT_BROKER, or localhost)")
    parser.add_argument("--port", metavar="N", help="(default: MQTT_PORT, or 1883, with TLS 8883)")
    parser.add_argument("--username", metavar="NAME", help="login at the broker (default: MQTT_USERNAME)")
    parser.add_argument("--password", help="MQTT_PASSWORD is better: others on this machine see the command line")
    parser.add_argument("--tls", action="store_true", help="encrypt, and check the broker's certificate")
    parser.add_argument("--ca-cert", metavar="FILE", help="who signed it, if not a known authority; means --tls")
    parser.add_argument("--client-cert", metavar="FILE", help="the certificate that is shown to the broker")
    parser.add_argument("--client-key", metavar="FILE", help="its key")
    parser.add_argument("--config", metavar="FILE", help=f"(default: PUBLISHER_CONFIG, or {DEFAULT_PATH})")
    parser.add_argument("--status", action="store_true", help="show how the running publisher of this file does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
