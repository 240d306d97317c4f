"""The lines of the log: nobody outside can forge, lengthen or repeat them at will, on the console or in the file."""

import logging
import sys
from collections.abc import Iterator

import pytest

from utils.log_lines import BURST, FORMAT, MAX_BYTES, Coloured, Flood, OneLine

FORGED = "x\n2026-01-01 00:00:00,000 - autoforge - ERROR - FAKE\x1b[31m"
HOSTILE = {
    "a line break": "a\nb",
    "a carriage return": "a\rb",
    "a forged line in colour": FORGED,
    "a bell": "a\x07",
    "a line separator": "a\u2028b",
    "a next line": "a\x85b",
    "text from right to left": "\u202eb",
    "a lone surrogate": "\udcff",
    "a null": "\0",
}


def record(
    message: str, *arguments: object, error: BaseException | None = None
) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(
        "autoforge", logging.WARNING, __file__, 1, message, arguments, exc_info
    )


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The same error with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


@pytest.fixture(params=[OneLine(FORMAT), Coloured(FORMAT)], ids=["file", "console"])
def formatter(request: pytest.FixtureRequest) -> logging.Formatter:
    formatter: logging.Formatter = request.param
    return formatter


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_client_sends_stays_within_one_line(formatter: logging.Formatter, text: str) -> None:
    for line in (formatter.format(record(text)), formatter.format(record("GET %s failed", text))):
        assert line.removesuffix("\x1b[0m").isprintable()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_name_of_a_logger_stays_within_one_line(
    formatter: logging.Formatter, text: str
) -> None:
    named = record("x")
    named.name = text
    assert formatter.format(named).removesuffix("\x1b[0m").isprintable()


@pytest.mark.parametrize(
    "error",
    [
        ValueError(FORGED),
        KeyError(FORGED),
        raised(RuntimeError("x"), ValueError(FORGED)),
        ExceptionGroup("several", [ValueError(FORGED), TypeError("x")]),
        SyntaxError("x", ("file", 1, 1, FORGED)),
    ],
    ids=["a message", "a key", "a cause", "a group", "a line of source"],
)
def test_a_traceback_keeps_its_lines_and_an_exception_cannot_add_any(
    formatter: logging.Formatter, error: BaseException
) -> None:
    lines = formatter.format(record("failed", error=raised(error))).split("\n")
    assert "Traceback (most recent call last):" in lines
    assert any(line.strip().startswith("File ") for line in lines)
    assert not [line for line in lines if "FAKE" in line and line.lstrip("| ").startswith("2026")]
    assert "\x1b[31m" not in "".join(lines)


def test_an_exception_is_named_with_its_message_at_the_end(formatter: logging.Formatter) -> None:
    lines = formatter.format(record("failed", error=raised(ValueError("why")))).split("\n")
    assert lines[-1].startswith("ValueError: why")


@pytest.mark.parametrize("text", ["x" * 60_000, "é" * 1_000, "\x1b" * 1_000, "😀" * 60_000])
def test_a_long_message_is_cut_to_a_kilobyte(text: str) -> None:
    line = OneLine("%(message)s").format(record(text))
    assert len(line.encode()) <= MAX_BYTES + 40
    assert line.endswith(f"… ({len(text)} characters)")


def test_a_message_of_a_kilobyte_is_kept() -> None:
    assert OneLine("%(message)s").format(record("x" * MAX_BYTES)) == "x" * MAX_BYTES


def test_a_long_message_of_an_exception_is_cut_and_the_traceback_kept() -> None:
    lines = (
        OneLine("%(message)s")
        .format(record("failed", error=raised(ValueError("x" * 60_000))))
        .split("\n")
    )
    assert len(lines[-1].encode()) <= MAX_BYTES + 40
    assert "Traceback (most recent call last):" in lines


def test_a_percent_sign_from_outside_is_only_a_percent_sign(formatter: logging.Formatter) -> None:
    assert "100 %s of %d" in formatter.format(record("100 %s of %d"))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What passes of the lines of the logger `flooded`, by two handlers as the console and the file are."""
    flood, passed = Flood(), []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            passed.append(OneLine("%(message)s").format(record))

    logger = logging.getLogger("flooded")
    logger.propagate = False
    for _ in range(2):
        handler = Kept()
        handler.addFilter(flood)
        logger.addHandler(handler)
    yield passed
    logger.handlers.clear()


def test_one_place_cannot_flood_the_log(lines: list[str]) -> None:
    for number in range(10 * BURST):
        logging.getLogger("flooded").warning("line %d", number)
    # Of each line both handlers have it or none.
    assert BURST <= len(lines) / 2 <= BURST + 2
    assert lines[::2] == lines[1::2]


def test_the_first_line_after_a_flood_says_how_many_were_held_back(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("utils.log_lines.time.monotonic", lambda: now)
    for _ in range(BURST + 8):
        _say("x")
    now = 1.5
    _say("y" * 5_000)
    assert lines[-1].endswith("… (5000 characters) (and 8 more like it)")
    assert len(lines) == 2 * (BURST + 1)


def _say(text: str) -> None:
    logging.getLogger("flooded").warning(text)


def test_a_flood_in_one_place_holds_nothing_back_in_another(lines: list[str]) -> None:
    for _ in range(2 * BURST):
        logging.getLogger("flooded").warning("a flood")
    logging.getLogger("flooded").warning("something else")
    assert lines[-1] == "something else"


def test_a_line_without_an_exception_says_so_even_while_one_is_handled() -> None:
    said = logging.LogRecord("x", logging.ERROR, __file__, 1, "m", (), sys.exc_info())
    assert OneLine("%(message)s").format(said) == "m"
