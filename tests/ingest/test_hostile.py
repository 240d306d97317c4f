"""Hostile payloads end as rejections, soon and within little memory; good neighbours are stored."""

import time
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.hostile import ARRAY, CASES, WHOLE, A, Hostile, message_of, parser_of
from ingest.message import Rejection, Several

pytestmark = pytest.mark.long
SECONDS = 1.0
"""What parsing may take on any machine; before its work was bounded, some took a minute. How long
it takes is a line of `make bench`."""
MEMORY = 60_000_000


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_hostile_payload_is_rejected_soon(case: Hostile, tmp_path: Path) -> None:
    parser, message = parser_of(case, tmp_path), message_of(case)
    began = time.thread_time()
    found = parser.parse(message)
    assert isinstance(found, Rejection), found
    assert time.thread_time() - began < SECONDS


def named(name: str) -> Hostile:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize(
    "name",
    ["gzip bomb", "zlib bomb", "a line of 10 MB", "json of 10 MB", "csv, a million columns"],
)
def test_a_hostile_payload_takes_little_memory(name: str, tmp_path: Path) -> None:
    case = named(name)
    parser, message = parser_of(case, tmp_path), message_of(case)
    tracemalloc.start()
    parser.parse(message)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MEMORY


def test_each_of_thousands_of_wrong_members_counts(tmp_path: Path) -> None:
    case = named("wrong numbers")
    found = parser_of(case, tmp_path).parse(message_of(case))
    assert isinstance(found, Rejection)
    assert found.readings == 9_999
    assert found.text == 'r[0].a: not a number: "x"; 9998 more readings were rejected'


def test_each_of_many_wrong_members_is_set_aside_with_its_place(tmp_path: Path) -> None:
    text = "{" + ",".join(f'"Zähler {number}":{{"a":"è"}}' for number in range(100)) + ',"b":1}'
    case = Hostile("", WHOLE.replace(A, f"{A}bare = 'value'\n"), lambda: text)
    found = parser_of(case, tmp_path).parse(message_of(case))
    assert isinstance(found, Several)
    assert [one.text for one in found.rejections] == [
        f'Zähler {number}.a: not a number: "è"' for number in range(100)
    ]


def test_a_good_member_among_thousands_of_wrong_ones_is_stored(tmp_path: Path) -> None:
    wrong = '{"a":[1]}'
    text = '{"r":[' + f"{wrong}," * 5_000 + '{"a":7},' + ",".join([wrong] * 4_000) + "]}"
    case = Hostile("", ARRAY + A, lambda: text)
    found = parser_of(case, tmp_path).parse(message_of(case))
    assert isinstance(found, Several)
    assert [(one.index, one.values) for one in found.readings] == [(5_000, (7.0,))]
    assert len(found.rejections) == 9_000
    assert found.rejections[0].text == "r[0].a: not a number: [1]"
    assert found.rejections[-1].text == "r[9000].a: not a number: […]"
