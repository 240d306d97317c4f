"""Every integration is registered, documented and tested, and no stream can take its paths."""

from importlib import import_module
from pathlib import Path

import pytest
from flask_openapi.openapi import OpenAPI

from app import create_app
from config import Settings
from integrations import INTEGRATIONS
from streams.reserved import RESERVED_NAMES
from tests.documents import PAGES
from tests.support import PROJECT

FOLDERS = sorted(file.parent.name for file in (PROJECT / "integrations").glob("*/__init__.py"))
each_integration = pytest.mark.parametrize("name", FOLDERS)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> OpenAPI:
    """An application with the shipped streams, so with the endpoints of every integration."""
    folder = tmp_path_factory.mktemp("integrations")
    return create_app(Settings(_env_file=None, database_url=f"sqlite:///{folder}/unused.db"))


def test_no_stream_can_have_the_name_of_a_path(application: OpenAPI) -> None:
    """The first level of each path below `/api` is a declared stream or a reserved name."""
    rules = [rule.rule.split("/") for rule in application.url_map.iter_rules()]
    levels = {levels[2] for levels in rules if levels[1] == "api" and len(levels) > 2}
    streams = {stream.name for stream in application.extensions["autoforge"].streams}
    assert levels - streams <= RESERVED_NAMES
    assert streams <= levels


def test_a_limit_of_bodies_is_for_a_rule_that_exists(application: OpenAPI) -> None:
    limited = {rule for integration in INTEGRATIONS for rule in integration.body_limits}
    assert limited <= {rule.rule for rule in application.url_map.iter_rules()}


@each_integration
def test_it_is_registered(name: str) -> None:
    assert import_module(f"integrations.{name}").INTEGRATION in INTEGRATIONS


@each_integration
def test_it_has_tests_and_a_page_that_the_page_on_systems_links(name: str) -> None:
    assert list(Path(PROJECT, "integrations", name, "tests").glob("test_*.py"))
    assert f"integrations/{name}/README.md" in PAGES
    assert f"(../integrations/{name}/README.md)" in PAGES["docs/systems.md"]
