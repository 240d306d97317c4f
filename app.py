"""AutoForge: `create_app` wires, `start_background` starts, `python app.py` runs it, `app` is for gunicorn."""

import logging
import socket
import sys
import threading
from typing import Any, NamedTuple

from click import ClickException
from flask_cors import CORS
from flask_openapi.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import make_server

from broker import embedded
from config import VERSION, Settings, SettingsError, load_settings, warn_of_exposed_files, warn_of_unknown_settings
from database import Database
from ingest.audit import AuditTrail
from ingest.ingester import Ingester
from ingest.pipeline import Pipeline
from ingest.process_heartbeat import ProcessHeartbeat
from ingest.rejected import Room
from mqtt_notices import Notices
from mqtt_publisher import Publisher
from routes import (
    command_line,
    control,
    energy,
    errors,
    flexotwin,
    heavy,
    oee,
    parameters,
    pelbiot,
    readings,
    rejected,
    soil_health,
    system,
)
from routes import live as live_events  # `live` is what gunicorn asks this module for
from routes import publisher as configurations
from routes.answers import Error
from routes.document import DocumentedApp
from routes.sockets import Sockets
from services.analyses import Analyses
from services.broker_watch import BrokerWatch
from services.commands import Commands
from services.known_devices import KnownDevices
from services.live import Hub
from services.publisher.editor import ConfigurationEditor
from services.publisher.loader import ConfigurationError, ConfigurationLoader
from services.publisher.service import PublisherService
from services.submissions import Submissions
from services.waiting import MAX_HELD, Held
from streams import declaration
from streams.checks import StreamError
from streams.registry import Streams
from streams.stream import Stream
from utils import logger as logs
from utils import origins, signals
from utils.files import keep_private
from utils.json_provider import CompactJson, IndentedJson

logger = logging.getLogger("autoforge")
MAX_BODY = 16_000_000
LIVE_HELD = 300
TABLES_SECONDS = 10
Parts = dict[str, Any]


class Core(NamedTuple):
    """What the paths of streams and systems are made of."""

    settings: Settings
    streams: Streams
    database: Database
    publisher: Publisher
    submissions: Submissions
    known: KnownDevices


def create_app(settings: Settings, *, ingests: bool = True, sockets: bool = True, most_held: int = MAX_HELD) -> OpenAPI:
    """Wire the backend. Nothing connects and nothing runs yet. Raises StreamError, SettingsError.

    Without `ingests` it leaves that to other processes, and without `sockets` Socket.IO. `most_held` requests may wait.
    """
    streams = declaration.declared(settings)
    database = Database(settings.url, streams)
    app = _web_application(settings)
    notices, held, publisher = Notices(settings, database), Held(most_held), Publisher(settings)
    commands = Commands(database, publisher, streams.device_topics.control, notices.tell, held)
    announces = any(metric.event for stream in streams for metric in stream.metrics)
    watch = BrokerWatch(settings, database) if announces else None
    hub = Hub(database, streams, notices, None if watch is None else watch.news)
    trail = AuditTrail(settings, streams)
    tell, record = notices.tell, trail.recorder("http")
    room, earliest = Room.of(settings), settings.earliest_time
    pipeline = Pipeline(database, streams, "http", tell, record, room=room, earliest=earliest)
    submissions = Submissions(database, pipeline)
    core = Core(settings, streams, database, publisher, submissions, KnownDevices(database, streams))
    for stream in streams:
        _add_stream(app, stream, core)
        app.register_api(live_events.blueprint(stream, hub, held))
    _add_systems(app, core)
    app.register_api(control.blueprint(commands, core.known))
    _add_own(app, core)
    listeners = [commands.hear, hub.hear]
    parts: Parts = {"notices": notices, "hub": hub, "publisher": publisher, "database": database}
    parts["heartbeat"] = ProcessHeartbeat(database)
    parts |= _add_publisher(app, settings, ingests)
    if ingests:
        parts["ingester"] = Ingester(settings, database, streams, notices.tell, trail.recorder("mqtt"))
        parts["analyses"] = Analyses(settings, database, streams)
        listeners.append(parts["analyses"].hear)
    if sockets:
        parts["sockets"] = Sockets(app, settings.origins, streams, hub, watch, proxies=settings.proxy_count)
    for hear in listeners:
        notices.listen(hear)
    app.extensions["autoforge"] = parts
    return app


def _add_own(app: OpenAPI, core: Core) -> None:
    """What tells of the backend itself, what holds for every request, and the commands of `flask`."""
    settings, streams, database = core.settings, core.streams, core.database
    app.register_api(system.blueprint(settings, streams, database))
    app.register_api(rejected.blueprint(database, Room.of(settings)))
    errors.register(app, streams, database)
    heavy.register(app, settings.heavy_requests)
    parameters.register(app)
    for command in command_line.commands(settings, streams, database):
        app.cli.add_command(command)


def _add_stream(app: OpenAPI, stream: Stream, core: Core) -> None:
    app.register_api(readings.blueprint(stream, core.database, core.submissions, core.known))
    if stream.energy is not None:
        app.register_api(energy.blueprint(stream, stream.energy, core.database))
    if stream.oee is not None:
        app.register_api(oee.blueprint(stream, stream.oee, core.database))


def _add_systems(app: OpenAPI, core: Core) -> None:
    """The paths of the systems whose streams are declared in the shape that those paths tell of."""
    settings, streams, database, publisher, submissions, _ = core
    if (machines := streams.get("machines")) is not None and flexotwin.fits(machines):
        app.register_api(flexotwin.blueprint(settings, machines, database))
    if (panels := streams.get("panels")) is not None and panels.topic.has_metric:
        app.register_api(pelbiot.blueprint(settings, streams, panels, database, publisher))
    if (soil := streams.get("soil")) is not None and soil.factors:
        app.register_api(soil_health.blueprint(soil, database, submissions))


def _add_publisher(app: OpenAPI, settings: Settings, publishes: bool) -> Parts:
    """The static publisher, if there is a file for it: its paths, and the part that publishes."""
    path = settings.publisher_config
    if path is None:
        return {}
    service = PublisherService(settings)
    app.register_api(configurations.blueprint(service, ConfigurationEditor(path)))
    return {"static_publisher": service} if publishes else {}


def _web_application(settings: Settings) -> OpenAPI:
    app = DocumentedApp(
        __name__,
        validation_error_status=400,
        validation_error_model=Error,
        validation_error_callback=errors.invalid_arguments,
        static_folder=None,
    )
    app.json = IndentedJson(app) if settings.flask_env == "development" else CompactJson(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    CORS(app, origins=origins.patterns(settings.origins))
    if settings.proxy_count:
        n = settings.proxy_count
        wrapped = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=n, x_prefix=n)
        app.wsgi_app = wrapped  # type: ignore[method-assign]  # the way Flask documents
    return app


def check_files(settings: Settings) -> None:
    """Raise SettingsError for what stops a start, but no process of a running backend that is replaced."""
    path = settings.publisher_config
    try:
        if path is not None:
            ConfigurationLoader(path).load_configurations()
    except ConfigurationError as error:
        # It begins with the path.
        raise SettingsError(f"PUBLISHER_CONFIG={error}") from error


def start_background(app: OpenAPI) -> None:
    """Start what runs beside the requests: the notices, and the ingester, which ingests once it has the lease.

    Returns once the tables are there, so that no request finds none; at the latest after ten seconds.
    """
    parts = app.extensions["autoforge"]
    parts["notices"].start()
    parts["heartbeat"].start()
    parts["hub"].start()
    if "ingester" in parts:
        parts["ingester"].start()
        parts["analyses"].start()
    if "static_publisher" in parts:
        parts["static_publisher"].start(standby=True)
    parts["database"].wait_until_prepared(TABLES_SECONDS)


def end_live(app: OpenAPI) -> None:
    """Let the live clients go, whose requests would not end by themselves."""
    parts = app.extensions["autoforge"]
    parts["hub"].stop()
    if "sockets" in parts:
        threading.Thread(target=parts["sockets"].close, name="end", daemon=True).start()


def stop_background(app: OpenAPI) -> None:
    """End it cleanly: what was received is committed and acknowledged."""
    parts = app.extensions["autoforge"]
    end_live(app)
    if "ingester" in parts:
        parts["ingester"].stop()
        parts["analyses"].stop()
    if "static_publisher" in parts:
        parts["static_publisher"].stop()
    parts["notices"].stop()
    parts["publisher"].close()
    parts["heartbeat"].stop()
    parts["database"].close()


def main() -> None:
    """Run the backend until Ctrl-C or SIGTERM; a fault in the settings is one line and exit code 1."""
    keep_private()
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_file)
        warn_of_unknown_settings()
        warn_of_exposed_files(settings)
        check_files(settings)
        listener = _listen(settings)
        app = create_app(settings)
        broker = embedded.start_if_needed(settings)
    except (SettingsError, StreamError) as error:
        sys.exit(f"{error}")
    logger.info("Configuration: MQTT=%s, database=%s", settings.broker, app.extensions["autoforge"]["database"])
    start_background(app)
    logger.info("AutoForge %s at http://%s/api/docs", VERSION, _shown_address(settings))
    _serve(app, listener)
    stop_background(app)
    if broker is not None:
        broker.stop()
    signals.ignore()


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.flask_host else socket.AF_INET
        return socket.create_server((settings.flask_host, settings.flask_port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"FLASK_PORT={settings.flask_port}: cannot listen on {settings.address}: {error.strerror}"
        ) from error


def _shown_address(settings: Settings) -> str:
    everywhere = settings.flask_host in ("0.0.0.0", "::")  # noqa: S104 - compared only
    return f"localhost:{settings.flask_port}" if everywhere else settings.address


def _serve(app: OpenAPI, listener: socket.socket) -> None:
    """Answer requests until told to stop."""
    if sys.platform == "win32":
        make_server(*listener.getsockname()[:2], app, threaded=True, fd=listener.fileno()).serve_forever()
    else:
        from serving.process import Server  # noqa: PLC0415 - gunicorn cannot be imported on Windows

        Server(app, listener, lambda: end_live(app)).init_process()


def __getattr__(name: str) -> Any:
    """`app` and `live`, made when gunicorn or flask asks for one, so that importing this module does nothing.

    Socket.IO needs all requests of a client in one process: `live` serves it, and `app` the rest in any number of them.
    """
    keep_private()
    try:
        if name == "app":
            return create_app(load_settings(), sockets=False)
        if name == "live":
            return create_app(load_settings(), ingests=False, most_held=LIVE_HELD)
    except (SettingsError, StreamError) as error:
        # The commands of flask show this as one line.
        raise ClickException(str(error)) from error
    raise AttributeError(name)


if __name__ == "__main__":
    main()
