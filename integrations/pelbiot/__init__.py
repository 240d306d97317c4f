"""PELBIOT: the newest values of energy panels for its dashboard."""

from flask_openapi.blueprint import APIBlueprint

from integrations.core import Core
from integrations.pelbiot import routes


def integrate(core: Core) -> APIBlueprint | None:
    """Return the endpoints, if the stream `panels` has a topic for each metric."""
    panels = core.streams.get("panels")
    if panels is None or not panels.topic.has_metric:
        return None
    return routes.blueprint(core.settings, core.streams, panels, core.database, core.publisher)
