"""Runs the migrations of the fixed tables with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection


class Unknown(Exception):
    """The database has a version that no migration has."""


def upgrade(connection: Connection, folder: Path) -> None:
    """Bring the fixed tables to the newest version. Raises Unknown."""
    configuration = Config()
    configuration.set_main_option("script_location", str(folder))
    configuration.attributes["connection"] = connection
    try:
        command.upgrade(configuration, "head")
    except CommandError as error:
        raise Unknown(str(error)) from error
