"""The house rules that a program can check: who imports whom, where SELECTs stand, and what an import may do."""

import ast
import functools
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from config import PROJECT


def _rooms() -> list[str]:
    """A line for each room: data enters at the top, and a module imports from above."""
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return page.split("\n## The rooms\n")[1].split("```\n")[1].splitlines()


def _name(line: str) -> str:
    return line.split(maxsplit=1)[0].removesuffix("/").removesuffix(".py").replace("/", ".")


ORDER = [_name(line) for line in _rooms()]
SELECTS_ELSEWHERE = {
    # Taking a lock, copying an empty table and COPY's INSERT … SELECT are how a dialect writes; they read no rows.
    "storage/mysql.py": re.compile(r"GET_LOCK|RELEASE_LOCK"),
    "storage/postgresql.py": re.compile(r"advisory|AS SELECT|\) SELECT"),
    # The table of the migrations has no model.
    "storage/schema.py": re.compile("alembic_version"),
}
WRITES_ELSEWHERE = {"migrations", "storage"}
"""Where tables are made, and how each kind of database writes."""
BROAD_HANDLERS = {
    "ingest/batches.py": 1,
    "ingest/pipeline.py": 1,  # around a message, when it is read and when it is stored
    "ingest/ingester.py": 1,  # around a turn of the loop
    "jobs/worker.py": 1,  # around a job
    "serving/worker.py": 1,  # around a request
    "storage/preparation.py": 1,  # around the making of the tables, in any thread
}


def python_files() -> list[Path]:
    """All files of the project with Python, tests too."""
    outside = {"docs", "deploy", "build", "dist", "venv", "node_modules"}
    found = [file.relative_to(PROJECT) for file in PROJECT.rglob("*.py")]
    return sorted(
        file
        for file in found
        if not outside & set(file.parts) and not any(part[0] == "." for part in file.parts)
    )


def is_of_tests(file: Path) -> bool:
    return bool({"tests", "conftest.py"} & set(file.parts))


ALL_FILES = python_files()
FILES = [file for file in ALL_FILES if not is_of_tests(file)]
TEST_FILES = [file for file in ALL_FILES if is_of_tests(file)]
MODULES = [file for file in FILES if file.parts[0] != "migrations"]
BY_ROOM = {
    file.parts[0]: [other for other in FILES if other.parts[0] == file.parts[0]] for file in FILES
}
each_room = pytest.mark.parametrize("room", sorted(BY_ROOM))
each_room_but_migrations = pytest.mark.parametrize("room", sorted(BY_ROOM.keys() - {"migrations"}))


def module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def place(name: str) -> str:
    """The entry of ORDER that a module stands for."""
    return name if name in ORDER else name.split(".", maxsplit=1)[0]


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse((PROJECT / file).read_text(encoding="utf-8"))


@functools.cache
def nodes(file: Path) -> list[ast.AST]:
    """All nodes of a module; walking over a tree again takes longer than a test."""
    return list(ast.walk(tree(file)))


NAMES = {module(file) for file in FILES}
PLACES = {place(name) for name in NAMES}


def imported(file: Path) -> set[str]:
    """The project's modules that a file imports, also inside functions."""
    names: set[str] = set()
    for node in nodes(file):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            base = str(node.module)
            names.update(
                f"{base}.{a.name}" if f"{base}.{a.name}" in NAMES else base for a in node.names
            )
    return {name for name in names if place(name) in PLACES}


def everything_imported(name: str) -> set[str]:
    """The places that a module needs, directly or by way of others."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        for file in FILES:
            if module(file) == current:
                new = imported(file) - seen
                seen |= new
                todo += new
    return {place(found) for found in seen}


@each_room_but_migrations
def test_a_module_imports_only_from_above(room: str) -> None:
    for file in BY_ROOM[room]:
        own = place(module(file))
        assert own in ORDER, f"{file} has no line in docs/architecture.md"
        for name in imported(file):
            other = place(name)
            below = ORDER.index(other) > ORDER.index(own)
            assert not below, f"{file} imports {name}, which stands below it"
            same = other == own
            assert not same or (PROJECT / own).is_dir(), f"{file} imports itself"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module(file): {name for name in imported(file) if name != module(file)} for file in MODULES
    }
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(MODULES)


def test_the_order_names_no_module_that_does_not_exist() -> None:
    assert set(ORDER) - PLACES == set()


def test_the_order_says_what_lives_in_each_room() -> None:
    assert len(ORDER) == len(set(ORDER))
    assert all(re.fullmatch(r"\S+ +\S.* .*", line) for line in _rooms())


def classes(files: Iterable[Path]) -> dict[str, list[str]]:
    """The files in which each class stands at the top level."""
    found: dict[str, list[str]] = {}
    for file in files:
        for node in tree(file).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(file))
    return found


def test_a_class_name_exists_once_in_product_and_tests() -> None:
    found = classes([*MODULES, *TEST_FILES])
    repeated = {name: files for name, files in found.items() if len(files) > 1}
    assert repeated == {}


def test_no_test_module_is_imported() -> None:
    """What several of them use is in a module of its own."""
    for file in TEST_FILES:
        for node in nodes(file):
            parts = [part for name in _names_imported(node) for part in name.split(".")]
            found = [part for part in parts if part.startswith("test_")]
            assert not found, f"{file} imports {found}"


def _names_imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_migrations_import_the_models_only() -> None:
    for file in FILES:
        if file.parts[0] == "migrations":
            assert imported(file) <= {"models"}, file


def test_what_speaks_mqtt_knows_no_database_and_no_stream() -> None:
    speaking = [file for file in FILES if file.parts[0] in ("broker", "mqtt_client.py")]
    needed = set().union(*(everything_imported(module(file)) for file in speaking))
    assert needed <= {"utils", "config", "broker"}
    for file in speaking:
        assert not re.search(
            r"^(from|import) sqlalchemy", (PROJECT / file).read_text(), re.MULTILINE
        ), file


def test_the_static_publisher_knows_no_database_and_no_stream() -> None:
    needed = set().union(
        *(everything_imported(module(f)) for f in FILES if f.parts[0] == "publisher")
    )
    assert needed <= {"utils", "config", "broker", "publisher"}


def test_simulators_share_no_parser_with_the_ingest() -> None:
    needed = set().union(
        *(everything_imported(module(f)) for f in FILES if f.parts[0] == "simulators")
    )
    assert needed <= {"utils", "config", "streams", "simulators", "broker"}


@pytest.mark.parametrize("name", ["routes", "services"])
def test_what_answers_requests_writes_no_statement_of_its_own(name: str) -> None:
    for file in FILES:
        if file.parts[0] == name:
            assert "text" not in _names_from_sqlalchemy(file), file


def _names_from_sqlalchemy(file: Path) -> set[str]:
    """What a file calls the names that it imports from SQLAlchemy."""
    return {
        alias.name
        for node in nodes(file)
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "sqlalchemy"
        for alias in node.names
    }


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a file that are not docstrings."""
    parsed = tree(file)
    docstrings = {id(node.value) for node in ast.walk(parsed) if isinstance(node, ast.Expr)}
    for node in ast.walk(parsed):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.lineno, node.value


@pytest.mark.parametrize("room", sorted(BY_ROOM.keys() - {"benchmarks", "queries"}))
def test_every_statement_stands_in_queries(room: str) -> None:
    refused = {"select", "Select", "Query"}
    if room not in WRITES_ELSEWHERE:
        refused |= {"insert", "update", "delete"}
    # What moves the rows of an earlier version is a migration that knows the streams.
    for file in set(BY_ROOM[room]) - {Path("storage/backfill.py")}:
        assert not refused & _names_from_sqlalchemy(file), file
        assert not any(_selects(node) for node in nodes(file)), file
        allowed = SELECTS_ELSEWHERE.get(file.as_posix(), re.compile(r"(?!)"))
        for line, text in _texts(file):
            written = re.search(r"\bSELECT\b", text) and not allowed.search(text)
            assert not written, f"{file}:{line}: {text}"


def _selects(node: ast.AST) -> bool:
    """Whether it is a session's query or the SELECT of a table."""
    if not isinstance(node, ast.Attribute):
        return False
    of_table = node.attr == "select" and _is_named(node.value, "sqlalchemy", "table")
    return node.attr == "query" or of_table


def _is_named(node: ast.expr, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


@pytest.mark.parametrize("name", ["readings", "devices", "commands", "ingest_status", "rejected"])
def test_queries_has_the_selects(name: str) -> None:
    assert "select" in _names_from_sqlalchemy(Path("queries") / f"{name}.py")


def test_the_pipeline_knows_no_kind_of_message() -> None:
    kinds = {"ingest.acknowledgements", "ingest.presence", "ingest.reading_writer"}
    assert not imported(Path("ingest/pipeline.py")) & kinds


@each_room
def test_only_the_ingest_catches_every_exception(room: str) -> None:
    for file in BY_ROOM[room]:
        broad = [
            node
            for node in nodes(file)
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
        ]
        allowed = BROAD_HANDLERS.get(file.as_posix(), 0)
        assert len(broad) <= allowed, (
            f"{file}: lines {[node.lineno for node in broad]}; {allowed} allowed"
        )


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(part) for part in caught.elts)
    return caught is None or _is_named(caught, "Exception", "BaseException")


@each_room
def test_nothing_suppresses_every_exception(room: str) -> None:
    for file in BY_ROOM[room]:
        for node in nodes(file):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                broad = any(_is_named(a, "Exception", "BaseException") for a in node.args)
                assert not (node.func.attr == "suppress" and broad), f"{file}:{node.lineno}"


WATCHED = """
import importlib, os, sys, threading
events = []

def watch(event, arguments):
    # urllib3, which comes with the tests' packages, asks whether there is IPv6.
    if event == "socket.bind" and arguments[1] == ("::1", 0):
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "sqlite3.connect"):
        events.append((event, *map(str, arguments)))

importlib.import_module("json")
before = set(os.listdir("/dev/fd"))
sys.addaudithook(watch)
importlib.import_module(sys.argv[1])
opened = set(os.listdir("/dev/fd")) - before
print(threading.active_count(), sorted(opened), events, os.listdir())
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "name",
    [
        "app",
        "mqtt_client",
        "broker.embedded",
        "ingest.ingester",
        "ingest.pipeline",
        "database",
        "simulators.run",
        "publisher.service",
        "publisher.__main__",
    ],
)
def test_an_import_starts_no_thread_and_opens_nothing(name: str, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", WATCHED, name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("1 [] [] []\n", "", 0)


@pytest.mark.process
def test_a_process_loads_the_driver_of_its_own_database_only() -> None:
    asked = (
        "import ingest.__main__, sys, sqlalchemy, storage.dialects as d; "
        "d.dialect_of(sqlalchemy.make_url('sqlite://')); "
        "print({'pymysql', 'psycopg2', 'cryptography', 'flask'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("set()\n", "")


@each_room_but_migrations
def test_an_import_calls_nothing_that_starts(room: str) -> None:
    """At a module's top level no method is called that starts or connects; `gunicorn.conf.py` only reads settings."""
    starting = {"start", "connect", "loop_start", "run", "open", "Thread", "create_engine"}
    for file in BY_ROOM[room]:
        for statement in tree(file).body:
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.If)):
                continue
            calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
            called = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
            assert not called & starting, f"{file}:{statement.lineno}"
