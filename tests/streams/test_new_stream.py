"""A second stream file dropped into STREAMS_DIR gives table, endpoints, docs and simulator, without code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from config import PROJECT, Settings
from tests.api import noon, reading, running
from tests.support import wait_for

GREENHOUSE = """
title = "Greenhouse"
topic = "farm/{device_id}/climate"

[metrics.humidity]
unit = "%"
required = true
plural = "humidities"
simulate = { mean = 60, swing = 10, noise = 1, minimum = 0, maximum = 100 }

[metrics.vent]
type = "text"
simulate = { states = ["open", "closed"], hold = 60 }
"""
PLAIN = 'topic = "{name}/{{device_id}}"\n[metrics.value_a]\nrequired = true\n'


@pytest.fixture
def streams_dir(tmp_path: Path) -> Path:
    """A copy of the shipped folder: what a user would drop a file into."""
    return Path(shutil.copytree(PROJECT / "streams", tmp_path / "streams"))


def test_the_table_is_made_beside_the_one_that_is_there(
    settings: Callable[..., Settings], database_url: str, streams_dir: Path
) -> None:
    values = settings(database_url=database_url, streams_dir=streams_dir)
    with running(values) as before:
        before.submit(reading())
    (streams_dir / "greenhouse.toml").write_text(GREENHOUSE)
    with running(values) as api:
        assert api.get("/api/sensors/history")["count"] == 1
        assert api.get("/api/greenhouse/history")["count"] == 0
    engine = create_engine(database_url)
    columns = {column["name"] for column in inspect(engine).get_columns("greenhouse_readings")}
    engine.dispose()
    assert columns >= {"id", "device_id", "timestamp", "humidity", "vent", "created_at"}


def test_every_endpoint_answers_for_it(
    settings: Callable[..., Settings], database_url: str, streams_dir: Path
) -> None:
    (streams_dir / "greenhouse.toml").write_text(GREENHOUSE)
    with running(settings(database_url=database_url, streams_dir=streams_dir)) as api:
        nothing = api.get("/api/greenhouse/latest", expect=404, device_id="g1")
        assert nothing == {"message": "No greenhouse readings found", "device_id": "g1"}
        body = [
            {"device_id": "g1", "humidity": 60, "vent": "open", "timestamp": noon(1)},
            {"device_id": "g1", "humidity": 64.5, "timestamp": noon(2)},
            {"device_id": "g1", "vent": "open"},
        ]
        answer = api.judge("/api/greenhouse/readings", body)
        assert (answer["stored"], [error["index"] for error in answer["errors"]]) == (2, [2])
        newest = api.get("/api/greenhouse/latest", device_id="g1")["data"]
        assert (newest["humidity"], newest["vent"], newest["timestamp"]) == (
            64.5,
            None,
            "2026-01-29T12:00:02.000000Z",
        )
        assert [item["vent"] for item in api.get("/api/greenhouse/history")["data"]] == [
            None,
            "open",
        ]
        assert api.get("/api/greenhouse/stats", from_=noon(2))["stats"] == {
            "count": 1, "avg_humidity": 64.5, "min_humidity": 64.5, "max_humidity": 64.5,
        }  # fmt: skip
        assert api.get("/api/greenhouse/ml-data")["data"] == {
            "timestamps": ["2026-01-29T12:00:01.000000Z", "2026-01-29T12:00:02.000000Z"],
            "device_ids": ["g1", "g1"],
            "humidities": [60.0, 64.5],
            "vent": ["open", None],
        }
        assert [item["device_id"] for item in api.get("/api/greenhouse/devices")["devices"]] == [
            "g1"
        ]
        assert api.get("/api/sensors/stats")["stats"]["count"] == 0


@pytest.mark.database
def test_it_is_declared_and_documented(
    settings: Callable[..., Settings], streams_dir: Path
) -> None:
    (streams_dir / "greenhouse.toml").write_text(GREENHOUSE)
    with running(settings(streams_dir=streams_dir)) as api:
        declared = {stream["name"]: stream for stream in api.get("/api/streams")["streams"]}
        document = api.get("/api/docs/openapi.json")
    assert declared["greenhouse"]["topic"] == "farm/{device_id}/climate"
    assert [metric["type"] for metric in declared["greenhouse"]["metrics"]] == ["number", "text"]
    for name in ("latest", "history", "stats", "ml-data", "devices", "readings"):
        assert (
            document["paths"][f"/api/greenhouse/{name}"].keys()
            == document["paths"][f"/api/sensors/{name}"].keys()
        )
    text = json.dumps(document, ensure_ascii=False)
    for word in ("avg_humidity", "humidities", "vent", "Greenhouse"):
        assert word in text
    assert "avg_vent" not in text


@pytest.mark.process
def test_the_simulator_plays_its_devices_and_the_backend_stores_them(
    settings: Callable[..., Settings], streams_dir: Path, fast_broker: int
) -> None:
    (streams_dir / "greenhouse.toml").write_text(GREENHOUSE)
    environment = {
        "MQTT_BROKER": "127.0.0.1",
        "MQTT_PORT": str(fast_broker),
        "STREAMS_DIR": str(streams_dir),
    }
    arguments = [
        "--stream",
        "greenhouse",
        "--devices",
        "3",
        "--rate",
        "0",
        "--count",
        "300",
        "--seed",
        "1",
    ]
    values: dict[str, Any] = {
        "mqtt_broker": "127.0.0.1",
        "mqtt_port": fast_broker,
        "streams_dir": streams_dir,
    }
    with running(settings(**values), start=True) as api:
        wait_for(lambda: api.get("/api/health")["status"] == "healthy", what="the subscription")
        subprocess.run(
            [sys.executable, "-m", "simulators", *arguments],
            cwd=PROJECT, env={"PATH": "/usr/bin:/bin"} | environment, check=True, timeout=60,
        )  # fmt: skip
        wait_for(
            lambda: api.get("/api/greenhouse/stats")["stats"]["count"] == 300, what="300 readings"
        )
        assert api.get("/api/health")["mqtt"]["rejected"] == 0
        assert len(api.get("/api/greenhouse/devices")["devices"]) == 3
        assert set(api.get("/api/greenhouse/ml-data")["data"]["vent"]) <= {"open", "closed"}


def test_metrics_may_have_the_names_of_sql_words(
    settings: Callable[..., Settings], database_url: str, streams_dir: Path
) -> None:
    names = ["order", "group", "select", "key", "index", "User", "Limit", "desc"]
    text = 'topic = "words/{device_id}"\n' + "".join(f"[metrics.{name}]\n" for name in names[:-1])
    (streams_dir / "words.toml").write_text(text)
    values = settings(database_url=database_url, streams_dir=streams_dir)
    with running(values):
        pass
    (streams_dir / "words.toml").write_text(f"{text}[metrics.{names[-1]}]\n")
    with running(values) as api:
        body = {"device_id": "w"} | {name: place for place, name in enumerate(names)}
        assert api.post("/api/words/readings", body)["stored"] == 1
        newest = api.get("/api/words/latest")["data"]
        assert [newest[name] for name in names] == list(range(len(names)))
        assert api.get("/api/words/stats")["stats"]["max_desc"] == len(names) - 1


@pytest.mark.parametrize("table", ["order", "user", "t" * 49])
def test_a_table_may_have_any_name_that_the_declaration_allows(
    settings: Callable[..., Settings], database_url: str, streams_dir: Path, table: str
) -> None:
    (streams_dir / "other.toml").write_text(f'table = "{table}"\n' + PLAIN.format(name="other"))
    with running(settings(database_url=database_url, streams_dir=streams_dir)) as api:
        assert api.post("/api/other/readings", {"device_id": "a", "value_a": 1})["stored"] == 1
        assert api.get("/api/other/latest")["data"]["value_a"] == 1


@pytest.mark.database
def test_a_table_name_whose_indexes_would_be_too_long_makes_the_stream_unusable(
    settings: Callable[..., Settings], streams_dir: Path
) -> None:
    (streams_dir / "other.toml").write_text(f'table = "{"t" * 50}"\n' + PLAIN.format(name="other"))
    with running(settings(streams_dir=streams_dir)) as api:
        assert "table: expected" in api.get("/api/health")["streams"]["unusable"]["other"]


def test_a_stream_may_have_a_name_of_40_characters(
    settings: Callable[..., Settings], database_url: str, streams_dir: Path
) -> None:
    name = "a" * 40
    (streams_dir / f"{name}.toml").write_text(PLAIN.format(name="long"))
    with running(settings(database_url=database_url, streams_dir=streams_dir)) as api:
        assert api.post(f"/api/{name}/readings", {"device_id": "a", "value_a": 1})["stored"] == 1


@pytest.mark.database
@pytest.mark.parametrize(
    "name", ["system", "openapi", "swagger", "api", "static", "a-b_c", "readings"]
)
def test_a_stream_may_have_any_name_that_is_not_reserved(
    settings: Callable[..., Settings], streams_dir: Path, name: str
) -> None:
    (streams_dir / f"{name}.toml").write_text(PLAIN.format(name=name))
    with running(settings(streams_dir=streams_dir)) as api:
        assert api.post(f"/api/{name}/readings", {"device_id": "a", "value_a": 1})["stored"] == 1
        assert f"/api/{name}/latest" in api.get("/api/docs/openapi.json")["paths"]
        assert api.get("/api/health")["service"] == "AutoForge IoT Backend"


@pytest.mark.database
@pytest.mark.parametrize("name", ["health", "streams", "control", "docs", "rejected"])
def test_a_name_that_is_a_path_of_the_backend_makes_the_stream_unusable_and_leaves_the_path(
    settings: Callable[..., Settings], streams_dir: Path, name: str
) -> None:
    (streams_dir / f"{name}.toml").write_text(PLAIN.format(name=name))
    with running(settings(streams_dir=streams_dir)) as api:
        told = api.get("/api/health")["streams"]["unusable"][name]
        assert api.client.get(f"/api/{name}").status_code != 503
    assert f"{name}.toml: the file's name: expected a name other than {name}" in told


@pytest.mark.database
def test_streams_with_names_alike_are_documented_apart(
    settings: Callable[..., Settings], streams_dir: Path
) -> None:
    for name, metric in (("line1", "one"), ("line-1", "two"), ("line_1", "three")):
        text = f'table = "t_{metric}"\ntopic = "{name}/{{device_id}}"\n[metrics.{metric}]\n'
        (streams_dir / f"{name}.toml").write_text(text)
    with running(settings(streams_dir=streams_dir)) as api:
        document = api.get("/api/docs/openapi.json")
    for name, metric in (("line1", "one"), ("line-1", "two"), ("line_1", "three")):
        latest = document["paths"][f"/api/{name}/latest"]["get"]["responses"]["200"]
        schema = resolved(document, latest["content"]["application/json"]["schema"])
        assert metric in resolved(document, schema["properties"]["data"])["properties"]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference stands for."""
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found


@pytest.mark.database
@pytest.mark.parametrize(
    "metric", ["copy", "json", "schema", "model_config", "model_fields", "dict", "count", "data"]
)
def test_a_metric_may_be_named_like_anything_in_the_code(
    settings: Callable[..., Settings], streams_dir: Path, metric: str
) -> None:
    (streams_dir / "names.toml").write_text(f'topic = "names/{{device_id}}"\n[metrics.{metric}]\n')
    with running(settings(streams_dir=streams_dir)) as api:
        api.post("/api/names/readings", {"device_id": "a", metric: 1})
        assert api.get("/api/names/latest")["data"][metric] == 1
        assert api.get("/api/names/stats")["stats"][f"avg_{metric}"] == 1
        assert api.get("/api/names/ml-data")["data"][metric] == [1]
        assert f"avg_{metric}" in json.dumps(api.get("/api/docs/openapi.json"))
