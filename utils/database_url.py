"""Validate the database URL and add the installed driver."""

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from utils.broker_address import lacks_brackets

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DEFAULT = "sqlite:///sensors.db"
_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg2",
    "postgres": "postgresql+psycopg2",
    "postgresql+psycopg2": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}
# The values of `uri` that SQLAlchemy treats as true; otherwise `file:` is part of the name.
_TRUE = {"true", "yes", "on", "y", "t", "1"}
# As SQLAlchemy finds it: a ? may be part of the login before it.
_QUERY = re.compile(r"[^:]*://(?:[^:/]*(?::[^@]*)?@)?[^?]*\?(.*)", re.DOTALL)
# The parameters that SQLAlchemy and storage/postgresql.py join.
_REPEATABLE = {"host", "options"}
_URL = "must be a URL such as sqlite:///sensors.db"
_BRACKETS = "must have brackets around an IPv6 address, such as postgresql://[::1]:5432/name"
_NO_HOST = (
    "must begin with sqlite:/// and the path of a file: a SQLite database has no host and no login"
)
_NO_NAME = "must name the database, such as {}://user:password@host/name"
# libpq would take the name of the user, unless one of these says another.
_PG_NAMES = {"dbname", "service"}
_PG_NAMES_OUTSIDE = ("PGDATABASE", "PGSERVICE")
_ONE_AT = (
    "must have one @ at most, before the host: "
    "in a user name or password @ is written %40, / %2F and : %3A"
)


def checked(text: str) -> str:
    """Return a valid URL with its driver.

    Raises ValueError, whose text shows no login and no query.
    """
    if text == DEFAULT:
        _check_file(Path(text.removeprefix("sqlite:///")))
        return text
    # Imported here, because it takes 12 MB that a program without a database does not need.
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - see above
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - likewise

    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ValueError(_BRACKETS if lacks_brackets(text) else _URL) from error
    if url.drivername not in _DRIVERS:
        raise ValueError("must begin with sqlite:///, postgresql:// or mysql+pymysql://")
    _check_query(text, url)
    if url.drivername == "sqlite":
        if url.host or url.username or url.port:
            raise ValueError(_NO_HOST)
        _check_sqlite(url)
    # Otherwise half of the password would be shown as part of the host or the database name.
    elif "@" in (url.host or "") or (url.username is None and "@" in (url.database or "")):
        raise ValueError(_ONE_AT)
    else:
        _check_name(url)
    return url.set(drivername=_DRIVERS[url.drivername]).render_as_string(hide_password=False)


def file_of(url: "URL") -> str:
    """Return the path of a SQLite database's file; empty for one in memory."""
    name = url.database or ""
    if is_file_uri(url):
        asked = {key: values[-1] for key, values in url.normalized_query.items()}
        if asked.get("mode") == "memory" or asked.get("vfs") == "memdb":
            return ""
        path = re.split("[?#]", name.removeprefix("file:"), maxsplit=1)[0]
        # Between two slashes and the next is the host, which can only be this machine.
        name = unquote(re.sub("^//[^/]*", "", path))
    return "" if name == ":memory:" else name


def is_file_uri(url: "URL") -> bool:
    """Return whether the path of a SQLite database is a URI, which may have parameters."""
    uri = url.normalized_query.get("uri", ("",))[-1]
    return uri.lower() in _TRUE and (url.database or "").startswith("file:")


def file_in(text: str) -> str:
    """Return the path of the SQLite file in a checked URL; empty for a server."""
    if text == DEFAULT:
        return text.removeprefix("sqlite:///")
    if not text.startswith("sqlite"):
        return ""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - as above

    return file_of(make_url(text))


def _check_query(text: str, url: "URL") -> None:
    repeatable = _REPEATABLE if _DRIVERS[url.drivername].startswith("postgresql") else ()
    twice = [name for name, values in url.normalized_query.items() if len(values) > 1]
    if more := ", ".join(name for name in twice if name not in repeatable):
        raise ValueError(f"must have each parameter once, and has more than one: {more}")
    # SQLAlchemy drops a parameter without a value.
    query = _QUERY.match(text)
    stated = query[1].split("&") if query else []
    without = [part for part in stated if part and not part.partition("=")[2]]
    if without or (stated == [""] and url.drivername == "sqlite"):
        names = ", ".join(part.partition("=")[0] for part in without) or "the end"
        fault = f"must give a value to each parameter behind the ?, and has none at {names}"
        raise ValueError(f"{fault}; a ? in the name of a file or database is written %3F")


def _check_name(url: "URL") -> None:
    if "\0" in unquote(url.database or ""):
        raise ValueError("must name a database, and no name has a NUL (%00)")
    if url.database:
        return
    kind = _DRIVERS[url.drivername].partition("+")[0]
    named = _PG_NAMES & url.normalized_query.keys() or any(map(os.environ.get, _PG_NAMES_OUTSIDE))
    if kind == "mysql" or not named:
        raise ValueError(_NO_NAME.format(kind))


def _check_sqlite(url: "URL") -> None:
    file = file_of(url)
    if not file:
        raise ValueError("must name a file, such as sqlite:///sensors.db")
    _check_file(Path(file))


def _check_file(path: Path) -> None:
    folder = path.absolute().parent
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        mode = 0
    except (OSError, ValueError) as error:
        raise ValueError(f"must name a file: {getattr(error, 'strerror', error)}") from error
    if not folder.is_dir():
        raise ValueError(f"{path}: the folder {folder} does not exist; create it, or name another")
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path}: is a folder; name a file in it")
    if mode and not stat.S_ISREG(mode):
        raise ValueError(f"{path}: is a device; name a file")
    if mode and path.stat().st_nlink > 1:
        # SQLite keeps a log per name, and two logs destroy the file.
        raise ValueError(
            f"{path}: the file has another name too (a hard link), and SQLite must know it by one; "
            "remove the other name, or put a copy in its place (a symbolic link is fine)"
        )
