"""Hints about misspelt ids: what they find, and what they cost where ids are hostile."""

import difflib
import random

import pytest

from services.known_devices import MOST_COMPARED, MOST_WEIGHED, _alike


def test_ids_that_differ_in_case_come_first() -> None:
    assert _alike("esp32_001", ["ESP32_002", "ESP32_001", "esp32_0011"])[0] == "ESP32_001"


def test_nothing_that_is_quite_different_is_named() -> None:
    assert _alike("boiler", ["pump", "oil", "reliob", "x" * 128]) == []


@pytest.mark.parametrize("letters", ["ab", "abcdefgh", "abcdefghijklmnopqrstuvwxyz0123456789"])
def test_of_many_long_ids_with_the_same_letters_few_are_compared_letter_by_letter(
    letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[difflib.SequenceMatcher[str]] = []
    ratio = difflib.SequenceMatcher.ratio

    def counted(matcher: difflib.SequenceMatcher[str]) -> float:
        compared.append(matcher)
        return ratio(matcher)

    monkeypatch.setattr(difflib.SequenceMatcher, "ratio", counted)
    draw = random.Random(1)
    asked = "".join(draw.choices(letters, k=128))
    ids = ["".join(draw.sample(asked, 128)) for _ in range(MOST_COMPARED)]
    _alike(asked, [*ids, asked.upper()])
    assert 0 < len(compared) <= MOST_WEIGHED
