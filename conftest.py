"""The fixtures and marks, for all tests: those in `tests/` and those beside each integration."""

import gc

from hypothesis import settings

pytest_plugins = ["tests.fixtures", "tests.marks"]
settings.register_profile("fast", max_examples=10)
# Loading makes next to no garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Take what is loaded out of garbage collection, which is a third of the time of many tests."""
    gc.collect()
    gc.freeze()
    gc.enable()
