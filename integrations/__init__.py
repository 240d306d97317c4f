"""Integrations with outside systems and their dashboards: a folder each, and one line here."""

from collections.abc import Callable, Sequence

from flask_openapi.blueprint import APIBlueprint

from integrations import flexotwin, harit_samarth, pelbiot
from integrations.core import Core

INTEGRATIONS: Sequence[Callable[[Core], APIBlueprint | None]] = (
    flexotwin.integrate,
    pelbiot.integrate,
    harit_samarth.integrate,
)
"""Functions that return the endpoints of a system, or None without a stream that fits."""
