"""PELBIOT: the newest values of energy panels for its dashboard."""

from flask_openapi.blueprint import APIBlueprint

from integrations.core import Core, Integration
from integrations.pelbiot import checks, routes


def endpoints(core: Core) -> APIBlueprint | None:
    """Return the endpoints, if the stream `panels` has a topic for each metric."""
    panels = core.streams.get("panels")
    if panels is None or not routes.fits(panels):
        return None
    return routes.blueprint(core.settings, core.streams, panels, core.database, core.publisher)


INTEGRATION = Integration(
    endpoints,
    # The largest message fits even with every character escaped.
    body_limits={"/api/mqtt/publish": 262_144},
    checks=checks.results,
)
