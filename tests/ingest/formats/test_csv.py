"""CSV: lines are readings, cells are texts, and a bad line costs none of the others."""

from typing import Any

import pytest

from streams.payload_shape import PayloadShape
from tests.formats import BAD, document, refused

NAMED = PayloadShape(format="csv", columns=("a", "b", "c"))
HEADED = PayloadShape(format="csv")
SEMICOLON = PayloadShape(format="csv", columns=("a", "b"), separator=";")
TAB = PayloadShape(format="csv", columns=("a", "b"), separator="\t")
ROW = {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("shape", "payload", "expected"),
    [
        pytest.param(NAMED, "1,2,3", ROW, id="one line"),
        pytest.param(NAMED, "1,2,3\r\n", ROW, id="a line's end"),
        pytest.param(NAMED, "1,2,3\n4,5,6", [ROW, {"a": "4", "b": "5", "c": "6"}], id="two lines"),
        pytest.param(NAMED, "\n1,2,3\n  \n\n1,2,3\n", [ROW, ROW], id="blank lines"),
        pytest.param(NAMED, "1,2,3\r1,2,3", [ROW, ROW], id="line ends of old"),
        pytest.param(NAMED, "\ufeff1,2,3", ROW, id="a BOM"),
        pytest.param(NAMED, "1,2,3\n\0\0", ROW, id="NULs behind it"),
        pytest.param(NAMED, "1,,3", {"a": "1", "b": None, "c": "3"}, id="an empty cell"),
        pytest.param(NAMED, '1,"",3', {"a": "1", "b": None, "c": "3"}, id="an empty text"),
        pytest.param(NAMED, "1,2", {"a": "1", "b": "2"}, id="a missing cell"),
        pytest.param(NAMED, "1,2,3,", ROW, id="a separator at the end"),
        pytest.param(NAMED, "1,2,3,,", ROW, id="two separators at the end"),
        pytest.param(NAMED, "a,b,c\n1,2,3", ROW, id="a line that repeats the names"),
        pytest.param(
            NAMED, '"x, y","say ""hi""",3', ROW | {"a": "x, y", "b": 'say "hi"'}, id="quotes"
        ),
        pytest.param(NAMED, '"x\ny",2,3', ROW | {"a": "x\ny"}, id="a line's end in quotes"),
        pytest.param(NAMED, '5" pipe,2,3', ROW | {"a": '5" pipe'}, id="a quote in a text"),
        pytest.param(NAMED, "ä, 2,3", ROW | {"a": "ä", "b": " 2"}, id="spaces stay"),
        pytest.param(NAMED, "x\u2028y,2,3", ROW | {"a": "x\u2028y"}, id="no line's end of CSV"),
        pytest.param(HEADED, "a,b\n1,2", {"a": "1", "b": "2"}, id="names in the first line"),
        pytest.param(HEADED, " a ,b\n1,2", {"a": "1", "b": "2"}, id="names with spaces"),
        pytest.param(HEADED, ",a,\n1,2,3", {"a": "2"}, id="columns without a name"),
        pytest.param(SEMICOLON, "1,5;2", {"a": "1,5", "b": "2"}, id="another separator"),
        pytest.param(TAB, "1\t2", {"a": "1", "b": "2"}, id="a tab"),
    ],
)
def test_a_payload_is(shape: PayloadShape, payload: str, expected: Any) -> None:
    assert document(shape, payload) == expected


MANY = f"{BAD}line 2: 4 cells, but there are 3 columns"
OPEN = f"{BAD}line 2: unexpected end of data: "
AFTER = f"{BAD}line 2: ',' expected after '\"': "


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        pytest.param("1,2,3,4", MANY, id="more cells than columns"),
        pytest.param('"1,2,3', OPEN + '"1,2,3', id="a quote that is not closed"),
        pytest.param('"1"x,2,3', AFTER + '"1"x,2,3', id="something behind a quote"),
    ],
)
def test_a_bad_line_costs_no_other(bad: str, text: str) -> None:
    assert document(NAMED, f"1,2,3\n{bad}\n1,2,3\n1,2,3") == [ROW, text, ROW, ROW]


@pytest.mark.parametrize(
    ("shape", "payload", "refusal"),
    [
        (NAMED, "1,2,3,4", ("invalid_csv", "line 1: 4 cells, but there are 3 columns")),
        (NAMED, '"1', ("invalid_csv", 'line 1: unexpected end of data: "1')),
        (NAMED, "1,\0,3", ("invalid_text", "byte 2 is a NUL character, which cannot be stored")),
        (NAMED, b"1,\xff,3", ("invalid_utf8", "byte 2 is not valid UTF-8")),
        (NAMED, " \n", ("empty_payload", "the payload is empty")),
        (NAMED, "a,b,c\n", ("empty_payload", "no line below the names of the columns")),
        (HEADED, "1,2,3", ("empty_payload", "no line below the names of the columns")),
        (HEADED, '""', ("empty_payload", "the payload is empty")),
        (HEADED, '"a\n1', ("invalid_csv", 'line 1: unexpected end of data: "a')),
        (HEADED, "a,b,a\n1,2,3", ("invalid_csv", "line 1: two columns are named a")),
        (HEADED, "x," * 1_000, ("invalid_csv", "line 1: 1001 columns; at most 1000 are allowed")),
        (HEADED, "," * 10**6, ("invalid_csv", "line 1: 1000001 columns; at most 1000 are allowed")),
        (NAMED, "1," * 10**6, ("too_large", "2000000 bytes; at most 1000000 are allowed")),
        (NAMED, "1\n" * 20_000, ("too_large", "20000 lines or records; at most 10000 are allowed")),
    ],
)
def test_a_payload_is_refused(
    shape: PayloadShape, payload: str | bytes, refusal: tuple[str, str]
) -> None:
    assert refused(shape, payload) == refusal
