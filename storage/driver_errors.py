"""Translates the errors of drivers into those of the project."""

from types import TracebackType

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from storage.dialect import Dialect
from storage.failures import BadData, Replaced, Unavailable


class DriverErrors:
    """Raises what the driver raises inside a `with` block as Unavailable, BadData or Replaced.

    A class rather than a generator, because every request passes through two of them.
    """

    def __init__(self, dialect: Dialect, connection: Connection | None = None) -> None:
        self._dialect = dialect
        self._connection = connection

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Replaced) and self._connection is not None:
            self._dialect.abandon(self._connection)
        elif isinstance(error, SQLAlchemyError):
            raise self._translated(_cause(error)) from error

    def _translated(self, error: SQLAlchemyError) -> Unavailable:
        if self._connection is not None and self._dialect.spoils(error):
            if fault := self._dialect.fault(self._connection):
                self._dialect.abandon(self._connection)
                return Replaced(fault)
            self._connection.invalidate()
        reason = self._dialect.reason(error)
        refused = isinstance(error, DBAPIError) and self._dialect.refuses(error)
        return BadData(reason) if refused else Unavailable(reason)


def _cause(error: SQLAlchemyError) -> SQLAlchemyError:
    """The error that ended a transaction, where only its savepoint's is left to report."""
    before = error.__context__ if "savepoint" in str(error).lower() else None
    while before is not None and not isinstance(before, DBAPIError):
        before = before.__context__
    return before or error
