"""What the body of a request costs in memory: a few times its bytes, also where it is refused."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from config import Settings
from integrations import INTEGRATIONS
from routes.bodies import LIMITS
from routes.document import operations
from tests.api import Api, reading, running
from tests.support import free_port
from utils.json_arrays import is_longer

pytestmark = pytest.mark.long

SIZE = 4_000_000
TIMES = 5
"""How many times its bytes a body may take; werkzeug's test client has two of them."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over an empty SQLite database."""
    folder = tmp_path_factory.mktemp("bodies")
    (folder / "publisher.json").write_text("[]")
    place: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/s.db",
        "publisher_config": folder / "publisher.json",
    }
    made = Settings(
        _env_file=None,
        log_file=folder / "a.log",
        mqtt_broker="127.0.0.1",
        mqtt_port=free_port(),
        **place,
    )
    with running(made) as started:
        yield started


def filled(begin: str, item: str, end: str) -> bytes:
    """A body of the size, of as many items as fit."""
    return (begin + item * (SIZE // len(item)) + end).encode()


BODIES = {
    "numbers": ("/api/sensors/readings", filled("[", "1,", "1]")),
    "empty objects": ("/api/sensors/readings", filled("[", "{},", "{}]")),
    "an array in an array": ("/api/sensors/readings", filled("[[", "{},", "{}]]")),
    "arrays deep in a reading": ("/api/sensors/readings", filled('[{"a":[', "[],", "[]]}]")),
    "objects in a reading": ("/api/sensors/readings", filled('{"a":[', "{},", "{}]}")),
    "numbers for soil": ("/api/soil-health/batch-analyze", filled("[", "1,", "1]")),
    "numbers under readings": (
        "/api/soil-health/batch-analyze",
        filled('{"readings":[', "1,", "1]}"),
    ),
    "keys beside readings": (
        "/api/soil-health/batch-analyze",
        ("{" + ",".join(f'"{n}":1' for n in range(SIZE // 10)) + "}").encode(),
    ),
    "a reading of soil with many keys": (
        "/api/soil-health/batch-analyze",
        ("[{" + ",".join(f'"{n}":1' for n in range(SIZE // 10)) + "}]").encode(),
    ),
    "a soil probe": ("/api/soil-health/analyze", filled("[", "1,", "1]")),
    "a command": ("/api/control", filled('{"parameters":[', "{},", "{}]}")),
    "a message": ("/api/mqtt/publish", filled('{"message":[', "{},", "{}]}")),
    "a configuration": ("/api/publisher/configs", filled('{"data":[', "{},", "{}]}")),
    "nothing": ("/api/publisher/reload", filled("[", "{},", "{}]")),
}


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize(("path", "body"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_refused_costs_a_few_times_its_bytes(
    api: Api, path: str, body: bytes
) -> None:
    api.client.post(
        path, data=b"{", content_type="application/json"
    )  # what is imported once does not count
    tracemalloc.start()
    try:
        answer = api.client.post(path, data=body, content_type="application/json")
        assert tracemalloc.get_traced_memory()[1] < TIMES * len(body)
    finally:
        tracemalloc.stop()
    assert answer.status_code in (400, 413) or answer.get_json()["stored"] == 0


@pytest.mark.broker
def test_too_many_readings_are_told_how_many_are_allowed(api: Api) -> None:
    for body in ([0] * 10_001, [reading()] * 10_001):
        answer = api.post("/api/sensors/readings", body, expect=400)
        assert answer["message"] == "too many readings; at most 10000 are allowed in one request"


@pytest.mark.broker
@pytest.mark.parametrize("text", ["x" * 5_461, "\u00e9" * 8_192, "\u20ac" * 5_461, "\n" * 8_000])
def test_the_largest_command_fits_however_it_is_escaped(api: Api, text: str) -> None:
    most = text[
        : (16_384 - len('{"a":""}')) // len(json.dumps(text[0], ensure_ascii=False).encode()[1:-1])
    ]
    body = {"device_id": "d" * 128, "command": "c" * 64, "parameters": {"a": most}}
    answer = api.client.post(
        "/api/control", data=json.dumps(body, indent=4), content_type="application/json"
    )
    assert answer.status_code == 503  # there is no broker, and nothing else is wrong


@pytest.mark.broker
def test_every_operation_with_a_body_has_a_limit(api: Api) -> None:
    document = api.get("/api/docs/openapi.json")
    paths = {path.replace("{", "<").replace("}", ">") for path, *_ in _with_bodies(document)}
    several = {path for path in paths if path.endswith(("/readings", "/batch-analyze"))}
    own = {path for integration in INTEGRATIONS for path in integration.body_limits}
    assert paths == set(LIMITS) | own | several


def _with_bodies(document: Any) -> Iterator[tuple[str, str]]:
    return ((path, method) for method, path, _ in operations(document) if method in ("post", "put"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[]", 0),
        ("[1]", 1),
        ("[1,2,3]", 3),
        ('["a,b",",\\",",{"a":[1,2,{}]},[[1,2],[3]],4]', 5),
        (' [ {"a":1,"b":{"c":[1,2]}} , null ] ', 2),
        ('["é\\\\",{"a":"}"},["]"],1]', 4),
    ],
)
def test_it_counts_the_elements_of_an_array(text: str, count: int) -> None:
    assert len(json.loads(text)) == count
    assert [is_longer(text.encode(), most) for most in (max(count, 1), count + 1)] == [False, False]
    assert count <= 1 or is_longer(text.encode(), count - 1)
