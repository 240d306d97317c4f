"""The base class of jobs."""

from typing import ClassVar

from sqlalchemy import Connection

from broker.notifier import ChangeSet


class Job:
    """Work that one process does for all, every `interval` seconds and after certain changes.

    A short example is `Expiry` in `services/commands.py`.
    """

    name: ClassVar[str]
    """The name of the job in `/api/health`; at most 40 characters."""
    interval: ClassVar[float]
    """Seconds between two runs; a job also runs when its process first takes the lease.

    So a job of once a day runs at each start and takeover too. Work that must not be repeated
    needs a checkpoint in the database.
    """

    def run(self, connection: Connection) -> None:
        """Do the work that is due, in parts that end soon: the other jobs wait for it.

        `connection` holds the lease, so a process that has lost the lease cannot write on it. It
        is in no transaction: execute statements within `database.transaction(connection)`. What
        is only read is usually read before, on a connection of `database.read()`.

        Raises Unavailable, PublishError. The worker logs them in one line, any other exception
        with its traceback. `/api/health` shows the failure, the other jobs run on, and this one
        runs again after `interval`.
        """
        raise NotImplementedError

    def waits_for(self, changes: ChangeSet) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether the job is due at once after these changes."""
        return False

    def leave(self) -> None:
        """Release what only the process that runs the job may hold.

        The worker calls it about once a second while another process runs the jobs.
        """

    def without_database(self) -> None:
        """Do the work that is possible while the database is unavailable. Raises PublishError."""

    def close(self) -> None:
        """Release everything when the worker stops."""
