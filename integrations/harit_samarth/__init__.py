"""Harit Samarth: the health of soils for its dashboard."""

from flask_openapi.blueprint import APIBlueprint

from integrations.core import Core, Integration
from integrations.harit_samarth import routes


def endpoints(core: Core) -> APIBlueprint | None:
    """Return the endpoints, if the stream `soil` declares ideal bands."""
    soil = core.streams.get("soil")
    if soil is None or not soil.factors:
        return None
    return routes.blueprint(soil, core.database, core.submissions)


INTEGRATION = Integration(endpoints, body_limits={"/api/soil-health/analyze": 262_144})
