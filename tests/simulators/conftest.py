"""Starts simulators as processes."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support import PROJECT


@pytest.fixture
def spawn() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a command with more variables; at the end of the test all of them are killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[str]":
        pipe, variables = subprocess.PIPE, {**os.environ, **environment}
        processes.append(
            subprocess.Popen(
                command, cwd=PROJECT, env=variables, stdout=pipe, stderr=pipe, text=True
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()
