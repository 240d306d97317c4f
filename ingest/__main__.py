"""`python -m ingest`: run ingestion alone, apart from the processes that serve REST."""

import logging
import sys

from broker import embedded
from config import SettingsError, load_settings, warn_of_exposed_files, warn_of_unknown_settings
from streams.checks import StreamError
from utils import logger, signals
from utils.files import keep_private
from wiring.backend import Backend


def main() -> None:
    """Ingest until Ctrl-C or SIGTERM; exit with code 1 and a message for bad settings."""
    ended = signals.ending()
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
    backend.start(ended)
    ended.wait()
    logging.getLogger("autoforge").info("Stopping")
    backend.stop()
    if broker is not None:
        broker.stop()
    signals.ignore()


if __name__ == "__main__":
    main()
