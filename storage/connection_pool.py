"""The connections to a database, with the driver's errors translated."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DataError

from config import SettingsError
from storage.dialect import Dialect
from storage.driver_errors import DriverErrors
from storage.failures import Replaced, Unavailable, unforeseen

_UNUSABLE = (ValueError, TypeError, ArgumentError)
# What SQLAlchemy and the drivers let out of a connect beside their own errors.
_UNFORESEEN = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class ConnectionPool:
    """Opens the connections of an engine. Raises SettingsError for unusable parameters."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        try:
            self.engine = dialect.create_engine()
        except _UNUSABLE as error:
            unusable = f"DATABASE_URL: {_refused_parameter(dialect)} cannot be used: {error}"
            raise SettingsError(f"{unusable}; allowed are {dialect.PARAMETERS}") from error
        event.listen(self.engine, "handle_error", _refusal)

    def open(self) -> Connection:
        """A connection that the caller closes. Raises Unavailable."""
        with DriverErrors(self._dialect):
            try:
                return self.engine.connect()
            except _UNFORESEEN as error:
                # Drivers check some parameters of DATABASE_URL only now, and do not name them.
                fault = "it cannot be connected to, perhaps because of DATABASE_URL"
                raise Unavailable(f"{fault}: {unforeseen(error)}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading. Raises Unavailable, BadData."""
        connection = self.open()
        dialect = self._dialect
        with DriverErrors(dialect), connection, DriverErrors(dialect, connection):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection for writing. Raises Unavailable; Replaced if what it wrote is lost."""
        with self.read() as connection:
            yield connection.execution_options(writes=True)
            self.check(connection)

    def check(self, connection: Connection) -> None:
        """Raise Replaced if nobody will ever read what this connection writes."""
        if fault := self._dialect.fault(connection):
            raise Replaced(fault)


def _refusal(context: ExceptionContext) -> DataError | None:
    """What a driver raises for a value that it cannot send or read is no error of its own kind."""
    error = context.original_exception
    in_use = context.execution_context is not None
    if not in_use or not isinstance(error, (ValueError, OverflowError)):
        return None
    return DataError(context.statement, None, error)


def _refused_parameter(dialect: Dialect) -> str:
    """Return the parameter without which an engine can be created: the errors do not name it."""
    for name in dialect.url.normalized_query:
        with suppress(*_UNUSABLE):
            type(dialect)(dialect.url.difference_update_query([name])).create_engine()
            return f"the parameter {name}"
    return "a parameter"
