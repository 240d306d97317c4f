"""The web part of a process: the application, its paths, and the services that these use."""

import threading
from functools import partial

from flask import Flask
from flask_openapi.openapi import OpenAPI

from broker.publisher import Publisher
from config import Settings
from ingest.ending import Target
from ingest.redelivery import Unrecorded
from ingest.rejected import RejectedLimits
from integrations import INTEGRATIONS
from integrations.core import Core
from publisher.service import PublisherService
from routes import (
    application,
    bodies,
    command_line,
    control,
    energy,
    errors,
    heavy,
    live,
    oee,
    parameters,
    publisher,
    readings,
    rejected,
    system,
)
from routes.sockets import Sockets
from services.broker_watch import BrokerWatch
from services.changes import ChangeReader
from services.commands import Commands
from services.configurations import ConfigurationEditor
from services.known_devices import KnownDevices
from services.live import Hub
from services.submissions import Submissions
from services.waiting import HeldRequests
from streams.stream import Stream
from wiring.backend import Backend, Part, RoleName


class WebBackend(Backend):
    """The parts of a process that answers requests."""

    def __init__(self, settings: Settings, role: RoleName = "all") -> None:
        super().__init__(settings, role)
        self.web = Web(self)
        self.web.app.extensions["autoforge"] = self
        self.parts += self.web.parts()

    def end_live(self) -> None:
        """Disconnect the live clients, whose requests would not end by themselves."""
        self.web.end_live()

    def stop(self) -> None:
        """Disconnect the live clients and stop all parts."""
        self.end_live()
        super().stop()


class Web:
    """The application with its paths, and the services that these use."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.app: OpenAPI = application.application(backend.settings)
        self.publisher = Publisher(backend.settings)
        self._held = HeldRequests(backend.role.most_held)
        self._known = KnownDevices(backend.database, backend.streams)
        self._submissions = Submissions(
            backend.database, backend.pipeline("http", backend.notifier.notify)
        )
        self._watch = self._broker_watch()
        watched = list if self._watch is None else self._watch.changes
        changes = ChangeReader(backend.database, backend.streams)
        self.hub = Hub(changes, backend.notifier, watched)
        backend.notifier.subscribe(self.hub.on_change)
        self._static_publisher = self._add_static_publisher()
        for stream in backend.streams:
            self._add_stream(stream)
        self._add_integrations()
        self._add_commands()
        self._add_own()
        self._sockets = self._add_sockets() if backend.role.sockets else None

    def parts(self) -> list[Part]:
        """Return the parts that run in the background."""
        parts = [Part(self.hub.start, self.hub.stop), Part(lambda: None, self.publisher.close)]
        if (service := self._static_publisher) is not None and self._backend.role.ingests:
            parts.append(Part(partial(service.start, standby=True), service.stop))
        return parts

    def end_live(self) -> None:
        """Disconnect the live clients, without waiting for Socket.IO to close."""
        self.hub.stop()
        if self._sockets is not None:
            threading.Thread(target=self._sockets.close, name="end", daemon=True).start()

    def _ending(self) -> Target:
        """Return where `flask end-session` stores the messages that it takes."""
        backend = self._backend
        own = backend.pipeline("mqtt", lambda _: None, Unrecorded())
        return Target(backend.database, own)

    def _broker_watch(self) -> BrokerWatch | None:
        backend = self._backend
        metrics = (metric for stream in backend.streams for metric in stream.metrics)
        has_events = any(metric.event for metric in metrics)
        return BrokerWatch(backend.settings, backend.database) if has_events else None

    def _add_stream(self, stream: Stream) -> None:
        database = self._backend.database
        self.app.register_api(readings.blueprint(stream, database, self._submissions, self._known))
        self.app.register_api(live.blueprint(stream, self.hub, self._held))
        if stream.energy is not None:
            self.app.register_api(energy.blueprint(stream, stream.energy, database))
        if stream.oee is not None:
            self.app.register_api(oee.blueprint(stream, stream.oee, database))

    def _add_integrations(self) -> None:
        backend = self._backend
        core = Core(
            backend.settings, backend.streams, backend.database, self.publisher, self._submissions
        )
        for integration in INTEGRATIONS:
            if (blueprint := integration.endpoints(core)) is not None:
                self.app.register_api(blueprint)

    def _add_commands(self) -> None:
        backend = self._backend
        topic = backend.streams.device_topics.control
        commands = Commands(
            backend.database, self.publisher, topic, backend.notifier.notify, self._held
        )
        backend.notifier.subscribe(commands.on_change)
        self.app.register_api(control.blueprint(commands, self._known))

    def _add_own(self) -> None:
        """Add the system endpoints, the checks of every request, and the commands of `flask`."""
        settings = self._backend.settings
        streams = self._backend.streams
        database = self._backend.database
        self.app.register_api(system.blueprint(settings, streams, database))
        self.app.register_api(rejected.blueprint(database, RejectedLimits.of(settings)))
        limits = dict(bodies.LIMITS)
        for integration in INTEGRATIONS:
            limits |= integration.body_limits
        errors.register(self.app, streams, database, limits)
        heavy.register(self.app, settings.heavy_requests)
        parameters.register(self.app)
        checks = [each.checks for each in INTEGRATIONS if each.checks is not None]
        for command in command_line.commands(settings, streams, self._ending(), checks):
            self.app.cli.add_command(command)

    def _add_static_publisher(self) -> PublisherService | None:
        path = self._backend.settings.publisher_config
        if path is None:
            return None
        service = PublisherService(self._backend.settings)
        self.app.register_api(publisher.blueprint(service, ConfigurationEditor(path)))
        return service

    def _add_sockets(self) -> Sockets:
        settings = self._backend.settings
        return Sockets(
            self.app,
            settings.origins,
            self._backend.streams,
            self.hub,
            self._watch,
            proxies=settings.proxy_count,
        )


def backend_of(app: Flask) -> WebBackend:
    """Return the backend that an application belongs to."""
    backend: WebBackend = app.extensions["autoforge"]
    return backend
