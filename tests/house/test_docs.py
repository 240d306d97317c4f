"""The documentation is complete: every setting, endpoint, event and key has its row."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from flask.testing import FlaskClient

from app import create_app
from config import VERSION, Settings
from ingest import audit
from ingest.batches import INTERNAL
from models import IGNORED
from routes import errors, system_answers
from routes.fields import Status
from serving import refusal
from streams import declaration, metric, stream
from streams.reserved import RESERVED_EVENTS
from tests.documents import GUIDES, PAGES, blocks, named, section, slugs, tables, target
from tests.support import DEVICE_TOPICS, PROJECT

Operations = dict[tuple[str, str], Any]
SHIPPED = sorted(file.stem for file in (PROJECT / "streams").glob("*.toml"))
OPERATION = re.compile(r"`(GET|POST|PUT|DELETE) (/[^ `]*)`")
PATH = re.compile(r"/api/[a-z-]+(?:/[a-z-]+)?(?![a-z/<-]|\.[a-z])")
PATHS = sorted({path for page in PAGES.values() for path in PATH.findall(page)})
FOLDERS = sorted(path.name for path in PROJECT.iterdir() if path.is_dir() and path.name[0] != ".")
FILE = re.compile(rf"(?<![\w/])(?:{'|'.join(FOLDERS)})/[\w./-]*\w")
NOT_OURS = {"streams/greenhouse.toml"}
HISTORY = ("CHANGELOG.md", "docs/upgrading.md")
REASON = "[a-z]+(?:_[a-z0-9]+)+"
OF_SOCKET_IO = {"connect", "connect_error", "disconnect", "message"}
KEYS: dict[str, list[Any]] = {
    "## Keys of a stream file": [declaration._Declaration],
    "### `[metrics.NAME]`": [metric.Metric, metric.BytesAt, metric.Simulation],
    "### `[timestamp]`": [stream.Timestamp],
    "### `[presence]`": [stream.PresenceRules],
    "### `[simulate]`": [stream.Devices],
    "### `[energy]`": [stream.Energy, stream.Tariff, stream.Hours],
    "### `[oee]`": [stream.Oee],
    "### `[health]`": [stream.HealthRules],
}


@pytest.fixture(scope="module")
def streams_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped streams and the one that the page on streams adds."""
    folder = tmp_path_factory.mktemp("streams")
    for name in SHIPPED:
        (folder / f"{name}.toml").write_bytes((PROJECT / "streams" / f"{name}.toml").read_bytes())
    (folder / "greenhouse.toml").write_text(blocks("docs/streams.md", "toml")[0], encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def client(streams_dir: Path) -> FlaskClient:
    """An application with everything that has endpoints, without its database."""
    publisher = streams_dir / "publisher.json"
    publisher.write_text("[]")
    settings = Settings(
        _env_file=None,
        streams_dir=streams_dir,
        database_url=f"sqlite:///{streams_dir}/unused.db",
        publisher_config=publisher,
    )
    return create_app(settings).test_client()


@pytest.fixture(scope="module")
def operations(client: FlaskClient) -> Operations:
    """Every operation of the OpenAPI document, by method and documented path."""
    paths = client.get("/api/docs/openapi.json").get_json()["paths"]
    return {
        (method.upper(), _documented(path)): operation
        for path, item in paths.items()
        for method, operation in item.items()
    }


def _documented(path: str) -> str:
    """The path as the pages write it."""
    path = re.sub(r"\{(\w+)\}", r"<\1>", path)
    return re.sub(rf"^/api/({'|'.join([*SHIPPED, 'greenhouse'])})/", "/api/<stream>/", path)


def _rows() -> Iterator[tuple[tuple[str, str], str]]:
    """Every row of a table that documents an endpoint, by its method and path."""
    for name in GUIDES:
        for line in PAGES[name].splitlines():
            if line.startswith("| `") and (found := OPERATION.match(line, 2)):
                yield (found[1], _documented(found[2])), line


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].encode()) <= 6_000


def test_the_index_has_every_page() -> None:
    pages = {Path(name).name for name in PAGES if re.fullmatch(r"docs/[a-z0-9-]+\.md", name)}
    listed = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", PAGES["docs/README.md"]))
    assert pages == listed


def test_every_setting_has_its_row_with_its_default() -> None:
    fields = Settings.model_fields
    defaults: dict[str, Any] = {name.upper(): field.default for name, field in fields.items()}
    defaults["STREAMS_DIR"] = defaults["STREAMS_DIR"].relative_to(PROJECT)
    defaults["EARLIEST_TIME"] = defaults["EARLIEST_TIME"].date()
    rows = [row for table in tables(PAGES["docs/configuration.md"]) for row in table]
    shown = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert shown == {name: "" if it is None else str(it) for name, it in defaults.items()}


def test_every_endpoint_has_its_row(operations: Operations) -> None:
    assert {operation for operation, _ in _rows()} == set(operations)


def test_every_row_of_an_endpoint_has_its_parameters(operations: Operations) -> None:
    for operation, row in _rows():
        for parameter in operations[operation].get("parameters", []):
            name = parameter["name"]
            shown = f"<{name}>" if parameter["in"] == "path" else f"`{name}`"
            assert shown in row, (operation, name)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str, client: FlaskClient) -> None:
    assert path in {rule.rule.rstrip("/") for rule in client.application.url_map.iter_rules()}


def test_every_live_event_has_its_row() -> None:
    (table,) = tables(section("docs/live.md", "## Events"))
    listed = {named(row[0])[0]: row[1] for row in table}
    assert set(listed) == RESERVED_EVENTS - OF_SOCKET_IO


def test_the_events_of_the_stream_endpoint_are_those_of_the_openapi_document(
    operations: Operations,
) -> None:
    (table,) = tables(section("docs/live.md", "## Events"))
    sent = {named(row[0])[0] for row in table if "SSE" in row[1]}
    answer = operations["GET", "/api/<stream>/live"]["responses"]["200"]["description"]
    assert sent == set(named(answer))


def test_every_reason_of_a_rejection_has_its_row() -> None:
    (table,) = tables(section("docs/operations.md", "## Rejected messages"))
    listed = [reason for row in table for reason in named(row[0])]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(_reasons()) | {INTERNAL}


def _reasons() -> Iterator[str]:
    """What the modules of `ingest/` give as the reason where they reject a message."""
    for file in (PROJECT / "ingest").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.match("[A-Z]|_rejection", ast.unparse(node.func)):
                given = [item.value for item in node.args[:2] if isinstance(item, ast.Constant)]
                yield from (str(it) for it in given if re.fullmatch(REASON, str(it)))


def test_every_column_and_outcome_of_the_audit_trail_is_named() -> None:
    text = section("docs/operations.md", "## Audit trail")
    assert set(audit.COLUMNS) <= set(named(text.split("\n\n")[0]))
    (table,) = tables(text)
    assert {named(row[0])[0] for row in table} == set(get_args(audit.Result))


def test_every_reason_for_ignoring_a_message_is_named() -> None:
    (table,) = tables(section("docs/operations.md", "## Audit trail"))
    (meaning,) = [row[1] for row in table if named(row[0]) == ["ignored"]]
    assert set(named(meaning)) - {"reason"} == set(IGNORED)
    field = system_answers.Counts.model_fields["ignored_by_reason"]
    assert set(named(str(field.description))) == set(IGNORED)


def test_every_status_of_an_error_has_its_row(operations: Operations) -> None:
    (table,) = tables(section("docs/rest.md", "## Errors"))
    listed = {int(status) for row in table for status in row[0].split(", ")}
    documented = {int(code) for each in operations.values() for code in each["responses"]}
    of_server = {*refusal._STATUS.values(), 408, 415, 500, 501}
    answered = documented | {rule.status for rule in errors.RULES.values()} | of_server
    assert listed == {status for status in answered if status >= 400} | {403, 405}


def test_every_event_that_a_shipped_stream_declares_has_its_row(streams_dir: Path) -> None:
    declared = declaration.load(streams_dir, {}, DEVICE_TOPICS)
    events = {metric.event for each in declared for metric in each.metrics if metric.event}
    listed = set(named(section("integrations/pelbiot/README.md", "## Socket.IO events")))
    assert events
    assert events <= listed


@pytest.mark.parametrize("heading", KEYS)
def test_every_key_of_a_stream_file_has_its_row_with_its_default(heading: str) -> None:
    found = tables(section("docs/streams.md", heading))
    for table, kind in zip(found, KEYS[heading], strict=True):
        listed = {key: row[1].strip("`") for row in table for key in named(row[0])}
        fields = {field.encode_name: field.default for field in msgspec.structs.fields(kind)}
        if kind is metric.Metric:
            del fields["name"]  # the heading is the name
        assert set(listed) == set(fields)
        for key, default in fields.items():
            shown = _shown(default)
            assert not shown or listed[key] == shown, key


def _shown(default: object) -> str:
    """A default as a stream file would have it; empty where it is derived or there is none."""
    if isinstance(default, bool | tuple) and default != ():
        return json.dumps(default)
    if isinstance(default, float):
        return f"{default:g}"
    return default if isinstance(default, str) else ""


def test_the_advice_of_a_metric_has_its_keys() -> None:
    assert named(_metric_key("advice")) == [it.name for it in msgspec.structs.fields(metric.Advice)]


def test_every_type_of_metric_is_named() -> None:
    assert named(_metric_key("type")) == list(get_args(metric.MetricType))


def _metric_key(name: str) -> str:
    """What the page on streams says about a key of a metric."""
    table, *_ = tables(section("docs/streams.md", "### `[metrics.NAME]`"))
    (meaning,) = [row[2] for row in table if named(row[0]) == [name]]
    return meaning


def test_the_stream_it_adds_can_be_loaded_and_has_endpoints(streams_dir: Path) -> None:
    added = declaration.load(streams_dir, {}, DEVICE_TOPICS)["greenhouse"]
    assert [metric.name for metric in added.metrics] == ["temperature", "humidity"]
    endpoints = ("latest", "history", "stats", "ml-data", "devices", "live", "readings")
    assert {f"/api/greenhouse/{name}" for name in endpoints} <= set(PATHS)


def test_it_lists_every_state_of_a_command() -> None:
    (table,) = tables(section("docs/commands.md", "## States"))
    assert [name for row in table for name in named(row[0])] == list(get_args(Status))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if link.startswith("https://"):
            continue
        file, anchor = target(page, link)
        assert file.exists(), link
        if anchor:
            assert anchor in slugs(file.relative_to(PROJECT).as_posix()), link


@pytest.mark.parametrize("page", [name for name in PAGES if name not in HISTORY])
def test_every_file_it_names_exists(page: str) -> None:
    text = re.sub(r"\]\([^)]*\)", "]", PAGES[page])  # links are relative to the page
    for name in set(FILE.findall(text)) - NOT_OURS:
        assert list(PROJECT.glob(f"{name}*")), name


def test_the_changelog_has_this_version() -> None:
    entry = rf"^## \[{re.escape(VERSION)}\] - .+\n\n### Added\n\n- "
    assert re.search(entry, PAGES["CHANGELOG.md"], re.MULTILINE)


def test_decisions_are_numbered_without_a_gap_and_listed_with_their_titles() -> None:
    decisions = sorted(name for name in PAGES if name.startswith("docs/adr/"))
    numbers = [int(Path(name).name[:4]) for name in decisions]
    assert numbers == list(range(1, len(decisions) + 1))
    assert len(numbers) >= 4
    listed = re.findall(
        r"^- \[(\d+)\]\((.+)\): (.+)$",
        section("docs/architecture.md", "## Decisions"),
        re.MULTILINE,
    )
    assert listed == [_entry(name) for name in decisions]


def _entry(decision: str) -> tuple[str, str, str]:
    """The number, the link and the title of a decision, as the list has them."""
    title = PAGES[decision].splitlines()[0].split(". ", 1)[1]
    link = decision.removeprefix("docs/")
    return Path(link).name[:4], link, title
