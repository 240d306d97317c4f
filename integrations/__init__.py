"""Integrations with outside systems and their dashboards: a folder each, and one line here."""

from collections.abc import Sequence

from integrations import flexotwin, harit_samarth, pelbiot
from integrations.core import Integration

INTEGRATIONS: Sequence[Integration] = (
    flexotwin.INTEGRATION,
    pelbiot.INTEGRATION,
    harit_samarth.INTEGRATION,
)
