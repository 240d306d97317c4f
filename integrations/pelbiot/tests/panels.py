"""Readings of PELBIOT's panels."""

from tests.api import Api

NONE = {"voltage": None, "ampere": None, "power": None, "energy_cost": None, "timestamp": None}


def at(second: int) -> str:
    return f"2024-01-15T10:30:{second:02}.000000Z"


def store(api: Api, metric: str, value: float, second: int, panel: str = "trafo1") -> None:
    body = {"value": value, "timestamp": at(second)}
    assert api.post("/api/panels/readings", body, device_id=panel, metric=metric)["stored"] == 1
