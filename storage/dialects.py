"""The dialect of a database URL. A process loads only its own: PyMySQL takes 10 MB."""

from sqlalchemy.engine import URL

from storage.dialect import Dialect


def dialect_of(url: URL) -> Dialect:
    """The dialect of a database URL."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        from storage.sqlite import SQLite  # noqa: PLC0415 - see above

        return SQLite(url)
    if kind == "postgresql":
        from storage.postgresql import PostgreSQL  # noqa: PLC0415 - see above

        return PostgreSQL(url)
    from storage.mysql import MySQL  # noqa: PLC0415 - see above

    return MySQL(url)
