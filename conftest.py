"""The fixtures and marks, for all tests: those in `tests/` and those beside each integration."""

from hypothesis import settings

pytest_plugins = ["tests.fixtures", "tests.marks"]
settings.register_profile("fast", max_examples=20)
