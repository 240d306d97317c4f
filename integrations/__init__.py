"""The outside systems whose dashboards AutoForge serves: a folder for each, and a line here."""

from collections.abc import Callable, Sequence

from flask_openapi.blueprint import APIBlueprint

from integrations import flexotwin, harit_samarth, pelbiot
from integrations.core import Core

INTEGRATIONS: Sequence[Callable[[Core], APIBlueprint | None]] = (
    flexotwin.integrate,
    pelbiot.integrate,
    harit_samarth.integrate,
)
"""Each gives its paths, or None where no stream is declared in the shape that it needs."""
