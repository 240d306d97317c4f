"""The examples of the API for readings are stored when they are sent, whatever the shape of the stream."""

from pathlib import Path
from typing import Any

import pytest

from config import Settings
from tests.api import running

pytestmark = pytest.mark.database

SHAPES = {
    "keyed": 'topic = "keyed/{gateway}"\nexplode = "*"\ndevice = "{key}"\n[metrics]\na = {}\n',
    "listed": 'topic = "listed"\ndevice = "who"\npairs = { name = "[0]", value = "[1]" }\n'
    "[metrics]\na = {}\n",
    "paired": 'topic = "paired"\ndevice = "who"\npairs = { in = "r", name = "id", value = "v" }\n'
    "[metrics]\na = {}\n",
    "beside": 'topic = "beside/{gateway}"\nexplode = "*"\ndevice = "{key}"\n'
    '[metrics]\na = "$.fw"\n',
}


@pytest.fixture
def bodies(tmp_path: Path) -> Any:
    """The API, and the schemas of what it takes, by stream."""
    for name, text in SHAPES.items():
        (tmp_path / f"{name}.toml").write_text(text)
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{tmp_path}/test.db",
        "streams_dir": tmp_path,
    }
    with running(Settings(_env_file=None, mqtt_broker="127.0.0.1", **values)) as api:
        paths = api.get("/api/docs/openapi.json")["paths"]
        yield (
            api,
            {
                name: paths[f"/api/{name}/readings"]["post"]["requestBody"]["content"][
                    "application/json"
                ]["schema"]
                for name in SHAPES
            },
        )


def test_its_examples_are_stored(bodies: Any) -> None:
    api, schemas = bodies
    for name in schemas.keys() - {"beside"}:
        for example in schemas[name]["examples"]:
            answer = api.judge(f"/api/{name}/readings", example)
            assert answer["rejected"] == 0, (name, example, answer)


def test_what_cannot_be_written_has_none(bodies: Any) -> None:
    _, schemas = bodies
    assert "examples" not in schemas["beside"]
