"""What a signal asks for, whatever it interrupts."""

import signal
import threading

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
    calls: list[int] = []
    done = threading.Event()

    def action() -> None:
        calls.append(1)
        done.wait(0.05)

    before = set(threading.enumerate())
    ask = aside(action)
    (thread,) = set(threading.enumerate()) - before
    for _ in range(3):
        ask()
    thread.join(10)
    assert calls == [1]
