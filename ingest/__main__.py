"""`python -m ingest`: ingestion alone, for installations that run it apart from the REST processes."""

import signal
import sys

from broker import embedded
from config import SettingsError, load_settings, warn_of_exposed_files, warn_of_unknown_settings
from database import Database
from ingest.audit import AuditTrail
from ingest.ingester import Ingester
from ingest.process_heartbeat import ProcessHeartbeat
from mqtt_notices import Notices
from streams import declaration
from streams.checks import StreamError
from utils import logger, signals
from utils.files import keep_private


def main() -> None:
    """Ingest until Ctrl-C or SIGTERM; a fault in the settings is one line and exit code 1."""
    keep_private()
    try:
        settings = load_settings()
        logger.configure(settings.log_level, settings.log_file, "ingest")
        warn_of_unknown_settings()
        warn_of_exposed_files(settings)
        streams = declaration.declared(settings)
        database = Database(settings.url, streams)
        broker = embedded.start_if_needed(settings)
    except (SettingsError, StreamError) as error:
        sys.exit(str(error))
    notices = Notices(settings, database)
    notices.start()
    heartbeat = ProcessHeartbeat(database)
    heartbeat.start()
    record = AuditTrail(settings, streams).recorder("mqtt")
    ingester = Ingester(settings, database, streams, notices.tell, record)
    stop = signals.aside(ingester.request_stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ingester.run()
    notices.stop()
    heartbeat.stop()
    database.close()
    if broker is not None:
        broker.stop()
    signals.ignore()


if __name__ == "__main__":
    main()
