"""Ten deliberate bugs, each with the test that must catch it: `make mutants`.

Each bug replaces one place in a copy of the project; its test must pass before and fail after that. A bug that its test
does not notice, or whose place is no longer in the source, is exit code 1.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parent.parent
NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "node_modules", "*.db", "*.db-*", "*.log", "*.lock"
)
SECONDS = 300


class Mutant(NamedTuple):
    """A bug: `before` stands once in the file, and becomes `after`; the test is `file::function[parameters]`."""

    name: str
    file: str
    before: str
    after: str
    test: str


MUTANTS = [
    Mutant(
        "a message is acknowledged before it is committed",
        "mqtt_client.py",
        "        if self._receiver.receive(self._batch.messages):\n",
        "        self._client.acknowledge(self._batch._packet_ids)\n"
        "        if self._receiver.receive(self._batch.messages):\n",
        "tests/broker/test_subscriber.py::test_what_is_not_stored_is_not_acknowledged_and_comes_again_to_the_next_one[mosquitto]",
    ),
    Mutant(
        "messages are acknowledged in reverse",
        "broker/persistent_client.py",
        "            for packet_id in packet_ids:\n",
        "            for packet_id in reversed(list(packet_ids)):\n",
        "tests/broker/test_subscriber_packets.py::test_it_acknowledges_in_the_order_received",
    ),
    Mutant(
        "acknowledgements outlive the connection that their messages came on",
        "broker/batch.py",
        "        self._packet_ids.clear()\n",
        "",
        "tests/broker/test_subscriber_packets.py::test_it_acknowledges_on_no_other_connection_than_the_message_came_on",
    ),
    Mutant(
        "the subscription is at QoS 0",
        "broker/subscriptions.py",
        "client.subscribe([(one, 1) for",
        "client.subscribe([(one, 0) for",
        "tests/broker/test_subscriber_packets.py::test_it_asks_for_a_session_that_lasts_and_for_qos_1",
    ),
    Mutant(
        "it connects without asking whether it holds the lease",
        "broker/persistent_client.py",
        " or not self._receiver.may_connect()",
        "",
        "tests/broker/test_subscriber.py::test_it_does_not_connect_before_it_may",
    ),
    Mutant(
        "a row that the database refuses is passed over like a duplicate",
        "storage/sqlite.py",
        "f'INSERT INTO \"{table.name}\" ({quoted(names)}, created_at) '",
        "f'INSERT OR IGNORE INTO \"{table.name}\" ({quoted(names)}, created_at) '",
        "tests/storage/test_database.py::test_it_sets_aside_a_row_that_the_database_refuses_and_keeps_its_neighbours[sqlite]",
    ),
    Mutant(
        "readings of one device and time are one reading, whatever their values",
        "ingest/reading_rows.py",
        "key(r.values) if r.own_time",
        "0 if r.own_time",
        "tests/ingest/test_pipeline.py::test_every_message_is_stored_or_a_duplicate_or_rejected[sqlite]",
    ),
    Mutant(
        "a duplicate is counted as stored",
        "ingest/reading_writer.py",
        "applied.stored += result.stored",
        "applied.stored += len(group)",
        "tests/ingest/test_pipeline.py::test_every_message_is_stored_or_a_duplicate_or_rejected[sqlite]",
    ),
    Mutant(
        "a batch that could not be committed is taken for stored",
        "ingest/turn.py",
        "            self._lease.confirmed()\n            return False\n",
        "            self._lease.confirmed()\n            return True\n",
        "tests/ingest/test_ingester.py::test_a_batch_that_cannot_be_stored_is_a_problem_until_it_is[sqlite]",
    ),
    Mutant(
        "rejected messages are counted and not kept",
        "ingest/pipeline.py",
        "self._rejected.write(connection, kept, now)",
        "pass",
        "tests/ingest/test_rejected.py::test_a_rejected_message_is_kept_as_it_came_with_the_reason[sqlite]",
    ),
]


class Misplaced(Exception):
    """The place of a mutant is not, or not once, in the source."""


def changed(mutant: Mutant, source: str) -> str:
    """The source with the bug. Raises Misplaced."""
    found = source.count(mutant.before)
    if found != 1:
        raise Misplaced(
            f"{mutant.file} has {found} times, instead of once: {mutant.before.strip()!r}"
        )
    return source.replace(mutant.before, mutant.after)


def survivors(mutants: Iterable[Mutant], project: Path, passes: Callable[[str], bool]) -> int:
    """Put each mutant into a project, say what became of it, and tell how many no test has caught."""
    count = 0
    for mutant in mutants:
        begun = time.monotonic()
        verdict = _verdict(mutant, project / mutant.file, passes)
        count += verdict != "caught"
        print(
            f"{verdict:<10} {mutant.name} ({mutant.test}, {time.monotonic() - begun:.0f} s)",
            flush=True,
        )
    return count


def _verdict(mutant: Mutant, file: Path, passes: Callable[[str], bool]) -> str:
    source = file.read_text(encoding="utf-8")
    try:
        bug = changed(mutant, source)
    except Misplaced as error:
        return f"MISPLACED: {error}"
    if not passes(mutant.test):
        return "UNTESTED: its test fails, or is not there, without it"
    file.write_text(bug, encoding="utf-8")
    try:
        return "SURVIVED" if passes(mutant.test) else "caught"
    finally:
        file.write_text(source, encoding="utf-8")


def main() -> int:
    """Run all mutants in a copy of the project."""
    with tempfile.TemporaryDirectory(prefix="autoforge-mutants-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(PROJECT, copy, ignore=NOT_COPIED)
        # Some tests look at what a new user gets.
        shutil.copy(PROJECT / ".env.example", copy)

        def passes(test: str) -> bool:
            command = [
                sys.executable,
                "-B",
                "-m",
                "pytest",
                "-q",
                "-n",
                "0",
                "-p",
                "no:cacheprovider",
                test,
            ]
            try:
                run = subprocess.run(
                    command, cwd=copy, capture_output=True, timeout=SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                return False
            return run.returncode == 0

        left = survivors(MUTANTS, copy, passes)
    print(f"{len(MUTANTS) - left} of {len(MUTANTS)} caught")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
