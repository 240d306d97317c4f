"""FlexoTwin: the status of packaging machines for its dashboard."""

from flask_openapi.blueprint import APIBlueprint

from integrations.core import Core, Integration
from integrations.flexotwin import routes


def endpoints(core: Core) -> APIBlueprint | None:
    """Return the endpoints, if the stream `machines` has their metrics."""
    machines = core.streams.get("machines")
    if machines is None or not routes.fits(machines):
        return None
    return routes.blueprint(core.settings, machines, core.database)


INTEGRATION = Integration(endpoints)
