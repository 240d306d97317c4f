"""Every command that the documentation prints exists, with its options and its files.

`test_docs_run.py` runs what asks a backend, `test_deploy.py` and `test_gunicorn.py` the rest.
"""

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from flask_openapi.openapi import OpenAPI
from gunicorn.config import Config

from app import create_app
from config import Settings
from publisher import __main__ as publisher
from simulators import __main__ as simulators
from simulators.demo import _instructions
from tests.documents import GUIDES, PAGES, blocks, commands, named, section, tables
from tests.support import PROJECT

LINES = sorted({(page, line) for page in GUIDES for line in commands(page)})
PARSERS = {"simulators": simulators._parser, "publisher": publisher._parser}
APPLICATIONS = ("app:app", "app:live")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> OpenAPI:
    folder = tmp_path_factory.mktemp("commands")
    return create_app(Settings(_env_file=None, database_url=f"sqlite:///{folder}/unused.db"))


def make(words: list[str]) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)


def python(words: list[str]) -> None:
    """A module with the options that it knows, or a file."""
    if words[0] != "-m":
        assert (PROJECT / words[0]).exists()
    elif words[1] in PARSERS:
        PARSERS[words[1]]().parse_args(words[2:])
    elif words[1] == "pytest":
        chosen([word for word in words[2:] if word.startswith("tests/")])
    else:
        assert importlib.util.find_spec(words[1])


def chosen(words: list[str]) -> None:
    """Every folder, file and test exists."""
    assert words
    for word in words:
        path, _, name = word.partition("::")
        assert (PROJECT / path).exists(), path
        assert not name or f"\ndef {name}(" in (PROJECT / path).read_text(encoding="utf-8"), word


def gunicorn(words: list[str]) -> None:
    options = Config().parser().parse_args(words)
    assert options.args[0] in APPLICATIONS
    assert (PROJECT / (options.config or "gunicorn.conf.py")).exists()


def files(words: list[str]) -> None:
    """Every file of the project that is named exists."""
    for word in words:
        if word.startswith("deploy/") or word == "requirements.txt":
            assert list(PROJECT.glob(word)), word


def units(words: list[str]) -> None:
    for word in words[words.index("--now") + 1 :]:
        assert (PROJECT / "deploy" / f"{word}.service").exists()


def runs(_: list[str]) -> None:
    """Another test runs it, or it is a program of the system without a file of the project."""


CHECKS: Mapping[str, Callable[[list[str]], None]] = {
    "make": make,
    "python": python,
    "python3": python,
    "pip": files,
    "gunicorn": gunicorn,
    "cp": files,
    "mosquitto": files,
    "docker": files,
    "systemctl": units,
    "curl": runs,
    "mosquitto_pub": runs,
    "mv": runs,
    "nginx": runs,
    "psql": runs,
    "sqlite3": runs,
    "useradd": runs,
}


@pytest.mark.parametrize(("page", "line"), LINES)
def test_every_printed_command_exists(page: str, line: str, application: OpenAPI) -> None:
    words = shlex.split(line, comments=True)
    while re.match("[A-Z_]+=", words[0]):
        words.pop(0)
    program = Path(words[0]).name
    if program == "flask":
        application.cli.commands[words[1]].make_context(words[1], words[2:])
    else:
        CHECKS[program](words[1:])


def test_every_make_target_that_is_named_exists() -> None:
    text = "\n".join(PAGES[page] for page in GUIDES)
    targets = set(re.findall(r"`make ([a-z]+)`?", text))
    assert {"demo", "test", "run", "check", "bench", "chaos", "mutants"} <= targets
    for name in targets:
        make([name])


def test_every_make_target_has_its_row() -> None:
    (table,) = tables(section("docs/developing.md", "## Make commands"))
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = makefile.split("\n.PHONY: ")[1].splitlines()[0].split()
    assert [named(row[0]) for row in table] == [[f"make {name}"] for name in targets]


def test_every_mark_has_its_row() -> None:
    (table,) = tables(section("docs/developing.md", "## Marks"))
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    marks = pyproject["tool"]["pytest"]["ini_options"]["markers"]
    assert {named(row[0])[0] for row in table} == {mark.split(":")[0] for mark in marks}


def test_every_command_of_flask_has_its_row(application: OpenAPI) -> None:
    (table,) = tables(section("docs/operations.md", "## Commands of `flask`"))
    own = set(application.cli.commands) - {"openapi"}
    assert {name for row in table for name in named(row[0])} == {f"flask {name}" for name in own}


def test_the_readme_shows_what_the_demo_prints() -> None:
    settings = Settings(_env_file=None, flask_port=5000, mqtt_port=1883)
    (shown,) = blocks("README.md", "console")
    assert shown == f"$ make demo\n{_instructions(settings)}"
