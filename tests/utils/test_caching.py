"""Answers that are kept: bounded in number, and each in size."""

import pytest

from config import PROJECT
from streams import declaration
from streams.matching import TopicMatch
from tests.support import DEVICE_TOPICS
from utils.caching import MAX_KEY, remembering
from utils.identity import device_id_fault, text_fault


def asked(texts: list[str]) -> list[str]:
    """Which texts the function itself was asked for."""
    calls: list[str] = []
    ask = remembering(calls.append, 2)
    for text in texts:
        ask(text)
    return calls


def test_an_answer_is_kept() -> None:
    assert asked(["a", "a", "b", "a"]) == ["a", "b"]


def test_of_too_many_answers_the_one_not_asked_for_longest_is_forgotten() -> None:
    assert asked(["a", "b", "c", "a"]) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("text", ["x" * (MAX_KEY + 1), "é" * 600, "😀" * (MAX_KEY + 1)])
def test_the_answer_to_a_long_text_is_not_kept(text: str) -> None:
    assert asked([text, text]) == [text, text]


@pytest.mark.parametrize("text", ["😀" * 128, "é" * 128, "x" * MAX_KEY])
def test_the_answer_to_every_possible_device_id_is_kept(text: str) -> None:
    assert asked([text, text]) == [text]


@pytest.mark.parametrize("text", ["x" * 65_300, "😀" * 65_300])
def test_long_texts_are_judged_as_short_ones_are(text: str) -> None:
    streams = declaration.load(PROJECT / "streams", {}, DEVICE_TOPICS)
    for _ in range(2):
        assert "at most 128 are allowed" in str(device_id_fault(text))
        assert "at most 255 are allowed" in str(text_fault(text))
        assert streams.match(f"sensors/{text}/data") == TopicMatch(streams["sensors"], text, None)
        assert streams.match(f"nowhere/{text}/data") is None
