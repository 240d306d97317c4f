"""The keys of formats: what is said about a stream file that has them wrong."""

import sys
from pathlib import Path

import pytest

from streams.checks import StreamError
from streams.declaration import load
from streams.payload_shape import MAX_COLUMNS
from tests.declarations import METRIC, TOPIC
from tests.support import DEVICE_TOPICS

CSV = 'format = "csv"\n'
NO_CSV = "expected nothing, because the format is json and not csv"
ONE = "expected one character, such as ;, other than a quote and a line's end"
NAMES = "expected names that are not empty, also of columns that nobody reads"
SIMULATED = "expected nothing, because the format is csv and simulated devices write json"


def fault(folder: Path, text: str) -> str:
    (folder / "x.toml").write_text(text)
    with pytest.raises(StreamError) as caught:
        load(folder, {}, DEVICE_TOPICS)
    return str(caught.value).removeprefix(f"{folder}/x.toml: ")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            'format = "xml"\n',
            "format: Expected json or csv or influx or senml or cbor or msgpack or sparkplug, got 'xml'",
        ),
        ('unpack = "gzip"\n', "unpack: Expected deflate, got 'gzip'"),
        ("rest = true\n", "rest: Expected keep, got `bool`"),
        ("[timestamp]\nformat = 5\n", "timestamp.format: Expected `str`, got `int`"),
        ('columns = ["a"]\n', f"columns: {NO_CSV}"),
        ('separator = ";"\n', f"separator: {NO_CSV}"),
        (f'{CSV}columns = ["a", ""]\n', f"columns: {NAMES}"),
        (f'{CSV}columns = ["a", "b", "a"]\n', "columns: expected each name once, not two of a"),
        (
            f'{CSV}columns = ["a\\u200b"]\n',
            "columns: expected a text without the invisible character U+200B",
        ),
        (f'{CSV}columns = ["b"]\n', "metrics.t.path: expected one of the columns: b"),
        (
            f'{CSV}columns = ["t"]\nonly = {{ kind = 1 }}\n',
            "only.kind: expected one of the columns: t",
        ),
        (
            f'{CSV}columns = ["t"]\n[timestamp]\nfield = ["t", "clock"]\n',
            "timestamp.field: expected one of the columns: t",
        ),
        (
            f'{CSV}values = "v"\n',
            "values: expected nothing, because the cells of a line are the values",
        ),
        (
            f"{CSV}columns = {[f'c{n}' for n in range(MAX_COLUMNS + 1)]}\n",
            "columns: expected at most 1000 names",
        ),
        *(
            (f"{CSV}separator = {it}\n", f"separator: {ONE}")
            for it in ('""', '";;"', "'\"'", '"\\n"')
        ),
        (f"{CSV}[simulate]\ninterval = 5\n", f"simulate: {SIMULATED}"),
        (
            'format = "senml"\n[timestamp]\nfield = "t"\n',
            "timestamp.field: expected timestamp, where the times of SenML are",
        ),
    ],
)
def test_a_fault_names_the_key_and_what_was_expected(
    keys: str, sentence: str, tmp_path: Path
) -> None:
    assert fault(tmp_path, f"{TOPIC}{keys}{METRIC}") == sentence


def test_a_topic_for_each_metric_has_json(tmp_path: Path) -> None:
    text = f'topic = "a/{{device_id}}/{{metric}}"\n{CSV}{METRIC}'
    assert fault(tmp_path, text) == "format: expected json, because each metric has its own topic"


def test_without_its_package_cbor_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    install = "install it: .venv/bin/pip install -r requirements-extras.txt"
    expected = f"format: expected the package cbor2 for cbor; {install}"
    assert fault(tmp_path, f'{TOPIC}format = "cbor"\n{METRIC}') == expected


def test_the_device_of_senml_is_its_base_name_unless_declared(tmp_path: Path) -> None:
    senml = f'topic = "a/#"\nformat = "senml"\n{METRIC}'
    (tmp_path / "x.toml").write_text(senml)
    (tmp_path / "y.toml").write_text(f'device = "id"\n{senml.replace("a/#", "b/#")}')
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    assert [streams[name].device for name in ("x", "y")] == ["bn", "id"]


@pytest.mark.parametrize(
    ("topic", "excluded", "missing"),
    [
        ("spBv1.0/+/DDATA/+/{device_id}", [], None),
        ("plant/{device_id}", [], None),
        ("spBv1.0/+/+/{device_id}", [], "NCMD, because messages on spBv1.0/+/NCMD/+"),
        ("spBv1.0/+/+/{device_id}", ["NCMD"], None),
        (
            "spBv1.0/+/{kind}/+/{device_id}",
            ["NCMD"],
            "DCMD, because messages on spBv1.0/+/DCMD/+/+",
        ),
        ("spBv1.0/{device_id...}", ["NCMD", "DCMD"], "STATE, because messages on spBv1.0/STATE/+"),
        ("spBv1.0/{device_id...}", ["NCMD", "DCMD", "STATE"], None),
    ],
)
def test_what_is_sent_to_an_edge_node_is_no_reading(
    topic: str, excluded: list[str], missing: str | None, tmp_path: Path
) -> None:
    text = f'topic = "{topic}"\nexcept = {excluded}\nformat = "sparkplug"\n{METRIC}'
    if missing is None:
        (tmp_path / "x.toml").write_text(text)
        assert not load(tmp_path, {}, DEVICE_TOPICS).unusable
    else:
        assert fault(tmp_path, text) == f"except: expected {missing} are no readings"
