"""`python -m ingest`: ingestion alone, for installations that run it apart from the REST processes."""

import signal
import sys
import threading

from broker import embedded
from config import SettingsError, load_settings, warn_of_exposed_files, warn_of_unknown_settings
from streams.checks import StreamError
from utils import logger, signals
from utils.files import keep_private
from wiring.backend import Backend


def main() -> None:
    """Ingest until Ctrl-C or SIGTERM; a fault in the settings is one line and exit code 1."""
    keep_private()
    try:
        settings = load_settings()
        logger.configure(settings.log_level, settings.log_file, "ingest")
        warn_of_unknown_settings()
        warn_of_exposed_files(settings)
        backend = Backend(settings)
        broker = embedded.start_if_needed(settings)
    except (SettingsError, StreamError) as error:
        sys.exit(str(error))
    ended = threading.Event()
    stop = signals.aside(ended.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    backend.start()
    ended.wait()
    backend.stop()
    if broker is not None:
        broker.stop()
    signals.ignore()


if __name__ == "__main__":
    main()
