"""SenML: records are resolved as RFC 8428, section 4.6, says, and grouped by device and time."""

from typing import Any

import pytest

from streams.payload_shape import PayloadShape
from tests.formats import document, refused, spelling

SENML = PayloadShape(format="senml")
OW = "urn:dev:ow:10e2073a01080063"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(
            f'[{{"n":"{OW}","u":"Cel","v":23.1}}]', {"bn": OW, "Cel": 23.1}, id="5.1.1, one value"
        ),
        pytest.param(
            f'[{{"bn":"{OW}:","n":"voltage","u":"V","v":120.1}},{{"n":"current","u":"A","v":1.2}}]',
            {"bn": OW, "voltage": 120.1, "current": 1.2},
            id="5.1.2, two values",
        ),
        pytest.param(
            f'[{{"bn":"{OW}:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1}},'
            '{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]',
            [
                {"bn": OW, "timestamp": 1276020076.001, "voltage": 120.1},
                {"bn": OW, "timestamp": 1276020071.001, "current": 1.2},
                {"bn": OW, "timestamp": 1276020072.001, "current": 1.3},
            ],
            id="5.1.3, several times",
        ),
        pytest.param(
            f'[{{"bn":"{OW}","bt":1.320067464e+09,"bu":"%RH","v":20}},{{"u":"lon","v":24.30621}},'
            '{"u":"lat","v":60.07965}]',
            {"bn": OW, "timestamp": 1320067464, "%RH": 20, "lon": 24.30621, "lat": 60.07965},
            id="5.1.4, units as names",
        ),
        pytest.param(
            '[{"bn":"2001:db8::2/","bt":1.320078429e+09,"n":"temperature","u":"Cel","v":27.2},'
            '{"n":"humidity","u":"%RH","v":80}]',
            {"bn": "2001:db8::2", "timestamp": 1320078429, "temperature": 27.2, "humidity": 80},
            id="5.1.5, an address as the base name",
        ),
        pytest.param(
            '[{"bn":"urn:dev:ow:1:","n":"temp","v":25},{"bn":"urn:dev:ow:2:","n":"temp","v":24},{"n":"hum","v":5}]',
            [
                {"bn": "urn:dev:ow:1", "temp": 25},
                {"bn": "urn:dev:ow:2", "temp": 24, "hum": 5},
            ],
            id="two devices",
        ),
    ],
)
def test_the_examples_of_the_rfc(payload: str, expected: Any) -> None:
    assert document(SENML, payload) == expected


@pytest.mark.parametrize(
    ("names", "device", "metric"),
    [
        ('"bn":"a:","n":"t"', "a", "t"),
        ('"bn":"a/","n":"t"', "a", "t"),
        ('"bn":"a.","n":"t"', "a", "t"),
        ('"bn":"a","n":"t"', "a", "t"),
        ('"bn":"a/b/","n":"c/t"', "a/b", "c/t"),
        ('"bn":"a:"', "a", "value"),
        ('"bn":"a:","bu":"Cel"', "a", "Cel"),
        ('"bn":"a:","bu":"Cel","u":"K"', "a", "K"),
        ('"n":"a/b/t"', "a/b", "t"),
        ('"n":"a:t"', "a", "t"),
        ('"n":"t"', None, "t"),
        ('"u":"Cel"', None, "Cel"),
        (f'"n":"{OW}:t"', OW, "t"),
        (f'"n":"{OW}/a/t"', OW, "a/t"),
    ],
)
def test_names_are_divided(names: str, device: str | None, metric: str) -> None:
    found = document(SENML, f'[{{{names},"v":1}}]')
    assert found == ({} if device is None else {"bn": device}) | {metric: 1}


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ('"v":21.5', {"n": 21.5}),
        ('"vs":"on"', {"n": "on"}),
        ('"vb":false', {"n": False}),
        ('"vd":"AQI"', {"n": "AQI"}),
        ('"v":null', {"n": None}),
        ('"bv":20,"v":1.5', {"n": 21.5}),
        ('"bv":0.1,"v":0.2', {"n": 0.3}),
        ('"bv":20,"vs":"on"', {"n": "on"}),
        ('"s":5', {"n_sum": 5}),
        ('"bs":100,"s":5,"v":1', {"n": 1, "n_sum": 105}),
        ('"v":9007199254740993', {"n": 9007199254740993}),
        ('"v":1,"more":[]', {"n": 1}),
    ],
)
def test_values_are_resolved(fields: str, values: dict[str, Any]) -> None:
    assert document(SENML, f'[{{"n":"n",{fields}}}]') == values


def test_a_number_keeps_its_spelling() -> None:
    assert spelling(document(SENML, '[{"n":"a","v":0.10}]')["a"]) == "0.10"


@pytest.mark.parametrize(
    ("times", "timestamp"),
    [
        ('"bt":1759163270', 1759163270),
        ('"t":1759163270', 1759163270),
        ('"bt":1759163270,"t":0.25', 1759163270.25),
        ('"t":268435456', 2**28),
        ('"t":268435455', None),
        ('"t":-5', None),
        ('"t":0', None),
        ('"bt":-5,"t":-5', None),
    ],
)
def test_a_time_relative_to_now_is_left_out(times: str, timestamp: float | None) -> None:
    assert document(SENML, f'[{{"n":"a","v":1,{times}}}]').get("timestamp") == timestamp


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("2", "record 1: expected an object, not 2"),
        ('{"n":5,"v":1}', "record 1: n: expected a text, not 5"),
        ('{"n":"b","v":1,"t":"x"}', 'record 1: t: expected a number, not "x"'),
        ('{"n":"b","v":1,"vs":"x"}', "record 1: one value, not v and vs"),
    ],
)
def test_a_wrong_record_does_not_sink_the_others(record: str, text: str) -> None:
    found = document(SENML, f'[{{"bn":"d:","n":"a","v":1}},{record},{{"n":"c","v":3}}]')
    *readings, error = found
    assert readings == [{"bn": "d", "a": 1, "c": 3}]
    assert error == f"bad: {text}"


def test_records_of_different_relative_times_are_different_readings() -> None:
    found = document(
        SENML, '[{"n":"a","v":1,"t":-2},{"n":"b","v":2,"t":-2},{"n":"a","v":3,"t":-1}]'
    )
    assert found == [{"a": 1, "b": 2}, {"a": 3}]


def test_a_second_value_of_a_metric_at_one_time_is_another_reading() -> None:
    found = document(SENML, '[{"bn":"d:","n":"a","v":1},{"n":"a","v":2},{"n":"b","v":3}]')
    assert found == [{"bn": "d", "a": 1}, {"bn": "d", "a": 2, "b": 3}]


def test_base_fields_hold_until_others_come_and_a_record_may_have_them_alone() -> None:
    found = document(
        SENML, '[{"bn":"d:","bt":1759163270},{"n":"a","v":1},{"bt":1759163271,"n":"a","v":2}]'
    )
    assert [(one["bn"], one["timestamp"], one["a"]) for one in found] == [
        ("d", 1759163270, 1),
        ("d", 1759163271, 2),
    ]


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        ('{"n":"a","v":1}', ("invalid_senml", 'expected an array of records, not {"n":"a","v":1}')),
        ("[]", ("empty_payload", "the payload has no reading")),
        ('[{"bn":"a"}]', ("empty_payload", "the payload has no reading")),
        (
            '[{"n":"a","v":1},{"bn":5,"v":1}]',
            ("invalid_senml", "record 1: bn: expected a text, not 5"),
        ),
        ("[2]", ("invalid_senml", "record 0: expected an object, not 2")),
        ('[{"n":5,"v":1}]', ("invalid_senml", "record 0: n: expected a text, not 5")),
        ('[{"n":"a","v":1,"t":"5"}]', ("invalid_senml", 'record 0: t: expected a number, not "5"')),
        (
            '[{"n":"a","v":"1","bv":1}]',
            ("invalid_senml", 'record 0: v: expected a number, not "1"'),
        ),
        ('[{"n":"a","v":1,"vs":"b"}]', ("invalid_senml", "record 0: one value, not v and vs")),
        ('[{"n":"bn","v":1}]', ("invalid_senml", "record 0: n: bn is no name of a metric")),
        (
            '[{"n":"a","v":1,"bver":11}]',
            ("invalid_senml", "record 0: bver: expected at most 10, not 11"),
        ),
        (
            '[{"n":"a","v":1,"x_":1}]',
            ("invalid_senml", "record 0: x_: must be understood, and is not"),
        ),
        ("[", ("invalid_json", "not valid JSON: it ends too early")),
        ("[" * 60_000, ("too_deep", "the JSON is nested too deeply")),
        (f"[{'0,' * 10_000}0]", ("too_large", "10001 lines or records; at most 10000 are allowed")),
    ],
)
def test_a_payload_is_refused(payload: str, refusal: tuple[str, str]) -> None:
    assert refused(SENML, payload) == refusal


def test_an_exponent_beyond_all_numbers_is_refused() -> None:
    reason, text = refused(SENML, f'[{{"n":"a","v":1,"t":1e-{"9" * 30}}}]')
    assert (reason, text.startswith("record 0: an exponent is too small: 1e-99")) == (
        "invalid_senml",
        True,
    )
