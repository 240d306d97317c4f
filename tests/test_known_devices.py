"""Hints about misspelt ids: what they find, and what they cost where ids are hostile."""

import random
import time

import pytest

from services.known_devices import MOST_COMPARED, _alike

SECONDS = 0.4
"""On a machine with nothing else to do it takes a tenth of that; comparing all of them took 1 to 10 s."""


def test_ids_that_differ_in_case_come_first() -> None:
    assert _alike("esp32_001", ["ESP32_002", "ESP32_001", "esp32_0011"])[0] == "ESP32_001"


def test_nothing_that_is_quite_different_is_named() -> None:
    assert _alike("boiler", ["pump", "oil", "reliob", "x" * 128]) == []


@pytest.mark.parametrize("letters", ["ab", "abcdefgh", "abcdefghijklmnopqrstuvwxyz0123456789"])
def test_many_long_ids_with_the_same_letters_cost_little(letters: str) -> None:
    draw = random.Random(1)
    asked = "".join(draw.choices(letters, k=128))
    ids = ["".join(draw.sample(asked, 128)) for _ in range(MOST_COMPARED)]
    began = time.process_time()
    _alike(asked, [*ids, asked.upper()])
    assert time.process_time() - began < SECONDS
