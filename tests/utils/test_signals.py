"""What a signal asks for, whatever it interrupts."""

import queue
import signal
import subprocess
import sys
import threading

import pytest

from config import PROJECT
from utils.signals import aside


def test_a_signal_may_come_while_its_thread_holds_what_the_action_needs() -> None:
    lock, done = threading.Lock(), threading.Event()

    def action() -> None:
        with lock:
            done.set()

    ask = aside(action)
    before = signal.signal(signal.SIGUSR1, ask)
    try:
        with lock:
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR1)
            assert not done.is_set()
        assert done.wait(10)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_action_is_done_once() -> None:
    calls: queue.SimpleQueue[int] = queue.SimpleQueue()
    ask = aside(lambda: calls.put(1))
    for _ in range(3):
        ask(signal.SIGINT)
    assert calls.get(timeout=10)
    with pytest.raises(queue.Empty):
        calls.get(timeout=0.05)


@pytest.mark.process
def test_a_second_ctrl_c_ends_what_the_first_cannot() -> None:
    program = "import signal, time; from utils import signals; signals.SAME_MOMENT_SECONDS = 0.0\n"
    program += "signal.signal(signal.SIGINT, signals.aside(lambda: time.sleep(100))); print('ready', flush=True)\n"
    program += "time.sleep(100)"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 128 + signal.SIGINT
