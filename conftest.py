"""The fixtures, for all tests: those in `tests/` and those beside each integration."""

pytest_plugins = ["tests.fixtures"]
