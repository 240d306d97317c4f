"""Text from outside: which characters nobody would see, and joiners, which are seen by what they do."""

import json

import pytest

from ingest.payload import Parser
from tests.parsing import reading
from utils.identity import device_id_fault, text_fault
from utils.text import invisible, printable

JOINED = [
    pytest.param("می\u200cخواهم", id="Persian"),
    pytest.param("क्\u200dष", id="Hindi with a joiner"),
    pytest.param("क्\u200cष", id="Hindi with a non-joiner"),
    pytest.param("👩\u200d🔧", id="a mechanic"),
    pytest.param("👩🏽\u200d🔧", id="a mechanic with a skin tone"),
    pytest.param("👨\u200d👩\u200d👧\u200d👦", id="a family"),
    pytest.param("❤\ufe0f\u200d🔥", id="a variation selector before the joiner"),
    pytest.param("👁\ufe0f\u200d🗨\ufe0f", id="a variation selector at the end"),
    pytest.param("🏳\ufe0f\u200d🌈 pump", id="a flag and a word"),
    pytest.param("1\ufe0f\u20e3", id="a keycap"),
    pytest.param(
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", id="the flag of England"
    ),
    pytest.param(
        "🏴\U000e0075\U000e0073\U000e0074\U000e0078\U000e007f 2", id="the flag of Texas and a word"
    ),
    pytest.param("🏴\u200d☠\ufe0f", id="a pirate's flag"),
    pytest.param("\u0600١٢", id="the Arabic number sign"),
    pytest.param("\u0601١٤٤٧", id="the Arabic sign of a year"),
    pytest.param("\u06dd١", id="the end of a verse"),
    pytest.param("\u070fܐܒ", id="a Syriac abbreviation"),
    pytest.param("\U000110bd१", id="the Kaithi number sign"),
]


@pytest.mark.parametrize("text", JOINED)
def test_joiners_between_visible_characters_are_allowed(text: str, parser: Parser) -> None:
    assert (invisible(text), text_fault(text), device_id_fault(text)) == (None, None, None)
    for ascii_only in (True, False):
        body = json.dumps({"machine_id": text, "state": text}, ensure_ascii=ascii_only)
        read = reading(parser, body, "plant/status")
        assert (read.device_id, read.values) == (text, (None, text))
    assert reading(parser, text, "panel/P1/mode").values == (None, text)
    assert reading(parser, "1", f"panel/{text}/ampere").device_id == text


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
@pytest.mark.parametrize(
    "form", ["{}", "{}a", "a{}", "a{}{}b", "a {}b", "a{} b", "a{}\u00a0b", "a\n{}b", "a{}\u200bb"]
)
def test_a_joiner_that_joins_nothing_is_invisible(form: str, joiner: str) -> None:
    text = form.replace("{}", joiner)
    found = invisible(text)
    assert found
    assert found in text
    assert text_fault(text)
    assert device_id_fault(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067", id="without its end"),
        pytest.param("🏴\U000e007f", id="without a code"),
        pytest.param(
            "🏴\U000e0067\U000e0062\U000e0020\U000e006e\U000e007f", id="with another character"
        ),
        pytest.param("🏴" + "\U000e0061" * 7 + "\U000e007f", id="with a text behind it"),
        pytest.param("a\U000e0067\U000e0062\U000e0065\U000e007f", id="behind no flag"),
        pytest.param("🏴\U000e0067\U000e0062\U000e0065\U000e007f\U000e0061", id="and one more"),
    ],
)
def test_the_code_of_a_flag_is_seen_only_as_one(text: str) -> None:
    assert str(invisible(text)) >= "\U000e0020"


@pytest.mark.parametrize(
    "character",
    [
        "\u200b",
        "\u2060",
        "\ufeff",
        "\u00ad",
        "\u202e",
        "\u2066",
        "\u180e",
        "\u2028",
        "\0",
        "\x7f",
        "\U000e0041",
    ],
)
def test_other_invisible_characters_stay_out(character: str) -> None:
    assert invisible(f"a{character}b") == character
    assert invisible(f"a\u200d{character}b") == "\u200d"


UNSEEN = {
    "a combining grapheme joiner": "\u034f",
    "a filler of Hangul": "\u3164",
    "a filler of half width": "\uffa0",
    "a filler of a first consonant": "\u115f",
    "a filler of a vowel": "\u1160",
    "an inherent vowel of Khmer": "\u17b4",
    "another inherent vowel of Khmer": "\u17b5",
    "a code point reserved for what is ignored": "\u2065",
    "a step of a musical slur": "\U0001d173",
    "a note without a head": "\U0001d159",
    "a tag that is reserved": "\U000e0080",
    "the first noncharacter": "\ufdd0",
    "a byte order mark the wrong way": "\ufffe",
    "the last of the plane": "\uffff",
    "the last of all": "\U0010ffff",
}


@pytest.mark.parametrize("character", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("form", ["{}", "{}{}", "a{}b", "a{}", "{}a", "é{}"])
def test_what_nobody_sees_stays_out_wherever_it_stands(form: str, character: str) -> None:
    text = form.replace("{}", character)
    assert invisible(text) == character
    name = f"the invisible character U+{ord(character):04X}"
    assert device_id_fault(text) == f"the device id must not contain {name}"
    assert text_fault(text) == f"the text must not contain {name}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("❤\ufe0f pump", id="an emoji and a word"),
        pytest.param("pump ❤\ufe0f", id="a word and an emoji"),
        pytest.param("❤\ufe0e", id="an emoji as text"),
        pytest.param("葛\U000e0100城", id="a variant in a name"),
        pytest.param("ᠠ\u180b", id="a variant in Mongolian"),
        pytest.param("⠏⠥⠍⠏\u2800⠁", id="two words in Braille"),
        pytest.param("\ue0a0 main", id="a character for private use"),
        pytest.param("\U0001fae9", id="an emoji of Unicode 16"),
    ],
)
def test_what_is_seen_is_allowed(text: str) -> None:
    assert (invisible(text), text_fault(text), device_id_fault(text)) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\ufe0f", "\ufe0f"),
        ("\ufe0fa", "\ufe0f"),
        ("a \ufe0f", "\ufe0f"),
        ("a\ufe0f\ufe0f", "\ufe0f"),
        ("\U000e0100", "\U000e0100"),
        ("\u180b", "\u180b"),
        ("\u2800", "\u2800"),
        ("a\u2800", "\u2800"),
        ("\u2800\u2800", "\u2800"),
    ],
)
def test_a_selector_or_a_blank_that_stands_alone_is_invisible(text: str, found: str) -> None:
    assert invisible(text) == found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u3164", "\\u3164"),
        ("a\u2800b", "a\\u2800b"),
        ("❤\ufe0f é", "❤\ufe0f é"),
        ("\n", "\\u000a"),
    ],
)
def test_what_nobody_sees_is_escaped_where_it_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
