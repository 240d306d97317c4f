"""`/api/sensor/…` and `/api/info`: the endpoints of FlexoTwin, on the stream `machines`."""

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import Field
from sqlalchemy import RowMapping

import queries.newest
import queries.readings
from config import VERSION, Settings
from database import Database
from routes.answers import Error, Rfc3339
from routes.arguments import DeviceQuery, TimeRangeQuery
from routes.fields import Whole
from routes.schemas import Described
from services import status
from streams.stream import Stream
from utils import clock
from utils.json_types import JsonObject

NOTHING = {
    "success": False,
    "error": "No data available",
    "message": "Sensor data has not been received yet",
}
REQUIRED = {"machine_status", "performance_rate", "quality_rate"}
ENDPOINTS = {
    "/api/sensor/latest": "the newest reading of all machines, or of device_id",
    "/api/sensor/history": "readings, newest first: limit, device_id, from, to",
    "/api/sensor/status": "the connection to the broker, and the machine heard last",
    "/api/machines/oee": "overall equipment effectiveness: device_id, from, to, shift, tz",
    "/api/info": "this list",
    "/health": "the state of the backend",
    "/api/docs": "all endpoints",
}


class SensorHistoryQuery(TimeRangeQuery):
    """Select the newest readings."""

    limit: Whole = Field(50, ge=1, le=10_000, description="At most this many.", examples=[50])


class Machine(Described):
    """A reading as the machine published it, without missing values."""

    machine_id: str
    machine_status: str
    performance_rate: float
    quality_rate: float
    timestamp: Rfc3339
    simulator_version: str | None = None
    cumulative_production: float | None = None
    cumulative_defects: float | None = None
    interval_production: float | None = None
    interval_defects: float | None = None


class SensorLatest(Described):
    """The newest reading."""

    success: bool
    data: Machine


class SensorHistory(Described):
    """Readings, newest first."""

    success: bool
    count: int
    limit: int
    data: list[Machine]


class NoData(Error):
    """No reading has arrived yet."""

    success: bool
    error: str


class MqttState(Described):
    """The connection to the broker."""

    connected: bool
    broker: str
    topic: str


class MachineState(Described):
    """The machine heard last; null without one."""

    machine_id: str | None
    status: str | None
    last_update: Rfc3339 | None


class SensorStatus(Described):
    """The state of the broker and of the machine."""

    success: bool
    mqtt: MqttState
    sensor: MachineState


class Info(Described):
    """The service and its endpoints."""

    success: bool
    name: str
    version: str
    endpoints: dict[str, str]


def fits(stream: Stream) -> bool:
    """Return whether a stream has the metrics of these endpoints."""
    return {metric.name for metric in stream.metrics if metric.required} >= REQUIRED


def blueprint(settings: Settings, stream: Stream, database: Database) -> APIBlueprint:
    """Return the endpoints."""
    api = APIBlueprint(
        "flexotwin",
        __name__,
        url_prefix="/api",
        abp_tags=[Tag(name="flexotwin", description="The endpoints of FlexoTwin")],
        abp_responses={400: Error, 503: Error},
    )
    table = database.tables[stream.name]

    @api.get("/sensor/latest", responses={200: SensorLatest, 404: NoData})
    def latest(query: DeviceQuery) -> tuple[JsonObject, int]:
        """The newest reading."""
        with database.read() as reader:
            row = queries.newest.latest(reader, table, query.device_id)
        if row is None:
            return NOTHING, 404
        return {"success": True, "data": _machine(stream, row)}, 200

    @api.get("/sensor/history", responses={200: SensorHistory})
    def history(query: SensorHistoryQuery) -> JsonObject:
        """Readings, newest first."""
        with database.read() as reader:
            rows = queries.readings.history(reader, table, query.filter(), query.limit)
            data = [_machine(stream, row) for row in rows]
        return {"success": True, "count": len(data), "limit": query.limit, "data": data}

    _add_about(api, settings, stream, database)
    return api


def _add_about(api: APIBlueprint, settings: Settings, stream: Stream, database: Database) -> None:
    table = database.tables[stream.name]
    endpoints = {
        path: text
        for path, text in ENDPOINTS.items()
        if stream.oee is not None or not path.endswith("/oee")
    }

    @api.get("/sensor/status", responses={200: SensorStatus})
    def sensor_status() -> JsonObject:
        """The connection to the broker, and the machine heard last."""
        with database.read() as reader:
            row = queries.newest.of_heard_last(reader, stream.name, table)
        connected = status.ingestion(settings, database)["uptime"] is not None
        mqtt = {
            "connected": connected,
            "broker": settings.broker.netloc,
            "topic": str(stream.topic),
        }
        return {"success": True, "mqtt": mqtt, "sensor": _last_heard(row)}

    @api.get("/info", responses={200: Info})
    def info() -> JsonObject:
        """The service and its endpoints."""
        placed = {f"{request.script_root}{path}": text for path, text in endpoints.items()}
        return {"success": True, "name": status.SERVICE, "version": VERSION, "endpoints": placed}


def _machine(stream: Stream, row: RowMapping) -> JsonObject:
    values = {
        metric.name: row[metric.name] for metric in stream.metrics if row[metric.name] is not None
    }
    return {"machine_id": row["device_id"], **values, "timestamp": clock.rfc3339(row["timestamp"])}


def _last_heard(row: RowMapping | None) -> JsonObject:
    if row is None:
        return {"machine_id": None, "status": None, "last_update": None}
    last = {"machine_id": row["device_id"], "status": row["machine_status"]}
    return {**last, "last_update": clock.rfc3339(row["timestamp"])}
