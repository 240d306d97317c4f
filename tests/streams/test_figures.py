"""Declarations of computed figures (ideal bands, energy, OEE, events) and the errors of wrong ones."""

from pathlib import Path

import pytest

from config import PROJECT
from streams import declaration
from streams.checks import StreamError
from streams.registry import Streams
from streams.stream import Energy, Hours, Oee, Tariff
from tests.support import DEVICE_TOPICS

HEAD = 'topic = "a/{device_id}"\n'
TARIFF = '[energy]\npower = "power"\n[energy.tariff]\nprice = 1\n'
METRICS = '[metrics.power]\n[metrics.share]\n[metrics.state]\ntype = "text"\n'


def fault(folder: Path, text: str) -> str:
    """What is said about the file x.toml."""
    with pytest.raises(StreamError) as caught:
        load(folder, text)
    return str(caught.value).removeprefix(f"{folder}/").removeprefix("x.toml: ")


def load(folder: Path, text: str) -> Streams:
    (folder / "x.toml").write_text(text)
    return declaration.load(folder, {}, DEVICE_TOPICS)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("ideal = [30, 15]", "metrics.t.ideal: expected two numbers, the lower one first"),
        ("ideal = [15, 15]", "metrics.t.ideal: expected two numbers, the lower one first"),
        ("ideal = [nan, 15]", "metrics.t.ideal: expected two numbers, the lower one first"),
        ("ideal = [0, inf]", "metrics.t.ideal: expected two numbers, the lower one first"),
        ("ideal = [15]", "metrics.t.ideal: Expected `array` of length 2, got 1"),
        ('ideal = "15-30"', "metrics.t.ideal: Expected `array | null`, got `str`"),
        (
            'type = "text"\nideal = [15, 30]',
            "metrics.t.ideal: expected nothing, because the values are text",
        ),
        (
            "ideal = [15, 30]\nweight = 0",
            "metrics.t.weight: expected a number above 0, at most 1000",
        ),
        (
            "ideal = [15, 30]\nweight = 1e308",
            "metrics.t.weight: expected a number above 0, at most 1000",
        ),
        (
            "ideal = [15, 30]\nweight = -1",
            "metrics.t.weight: expected a number above 0, at most 1000",
        ),
        ('advice = { left = "x" }', "metrics.t.advice: Object contains unknown field `left`"),
        (
            'event = "Mqtt Update"',
            "metrics.t.event: expected a letter of a-z, then a-z, 0-9, - and _",
        ),
        (
            'event = "reading"',
            (
                "metrics.t.event: expected a name other than command, connect, connect_error, "
                "disconnect, error, gap, message"
            ),
        ),
        ('event = "mqtt-error"', "metrics.t.event: expected a name other than command, connect"),
        ("simulate = { mean = nan }", "metrics.t.simulate: expected finite numbers"),
        (
            "simulate = { minimum = 2, maximum = 1 }",
            "metrics.t.simulate.minimum: expected at most the maximum",
        ),
        (
            'simulate = { product = ["u"] }',
            "metrics.t.simulate.product: expected numeric metrics declared before it: ",
        ),
        (
            'simulate = { product = ["t"] }',
            "metrics.t.simulate.product: expected numeric metrics declared before it: ",
        ),
    ],
)
def test_a_metric_that_cannot_be_is_a_fault(metric: str, sentence: str, tmp_path: Path) -> None:
    assert fault(tmp_path, f"{HEAD}[metrics.t]\n{metric}\n").startswith(sentence)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            '[simulate]\nnames = "board"',
            "simulate.names: expected a device id with a placeholder for the number",
        ),
        (
            '[simulate]\nnames = "{:q}"',
            "simulate.names: expected a device id with a placeholder for the number",
        ),
        (
            '[simulate]\nnames = "{} {}"',
            "simulate.names: expected a device id with a placeholder for the number",
        ),
        (
            '[simulate]\nnames = "a/{}"',
            "simulate.names: expected a device id with a placeholder for the number",
        ),
        ("[simulate]\ninterval = 0", "simulate.interval: expected a number of seconds above 0"),
        (
            '[health]\nanalysis_topic = "a"',
            "health: expected at least one metric with an ideal band",
        ),
        (
            '[health]\nstatus_topic = "b/+"',
            "health.status_topic: expected a topic without + # { } and empty levels",
        ),
        (
            '[health]\nstatus_topic = "/"',
            "health.status_topic: expected a topic without + # { } and empty levels",
        ),
        (
            '[health]\nstatus_topic = "$SYS/x"',
            "health.status_topic: expected a topic that is not below autoforge/ or $",
        ),
        (
            '[health]\nstatus_topic = "autoforge/x/notices"',
            "health.status_topic: expected a topic that is not below autoforge/ or $",
        ),
        (
            '[health]\nstatus_topic = "b"\nanalysis_topic = "b"',
            "health.status_topic: expected a topic other than the analysis_topic",
        ),
        (
            '[health]\nstatus_topic = "a/b"',
            "health.status_topic: overlaps with x.toml: topic (a/",
        ),
        (
            '[health]\nstatus_topic = "status/x"',
            "health.status_topic: overlaps with STATUS_TOPIC (status/{device_id})",
        ),
        ("[oee]", "oee: Object missing required field `status`"),
        (
            '[oee]\nstatus = "share"\nperformance = "share"\nquality = "share"',
            "oee.status: expected a text metric: state",
        ),
        (
            '[oee]\nstatus = "state"\nperformance = "state"\nquality = "share"',
            "oee.performance: expected a numeric metric: power, share",
        ),
        (
            '[oee]\nstatus = "state"\nperformance = "share"\nquality = "speed"',
            "oee.quality: expected a numeric metric: power, share",
        ),
        (
            '[oee]\nstatus = "state"\nperformance = "share"\nquality = "share"\nrunning = []',
            "oee.running: expected at least one state",
        ),
        (
            '[oee]\nstatus = "state"\nperformance = "share"\nquality = "share"\ngap = 0',
            "oee.gap: expected a number of seconds above 0, at most a year",
        ),
        ('[energy]\npower = "state"', "energy.power: expected a numeric metric: power, share"),
        (
            '[energy]\npower = "power"\ncounter = "meter"',
            "energy.counter: expected a numeric metric: power, share",
        ),
        (
            '[energy]\npower = "power"\ngap = 1e18',
            "energy.gap: expected a number of seconds above 0, at most a year",
        ),
        (
            '[energy]\npower = "power"\ngap = -1',
            "energy.gap: expected a number of seconds above 0, at most a year",
        ),
        (
            '[energy]\npower = "power"\n[energy.tariff]\nprice = -1',
            "energy.tariff: expected prices of at least 0",
        ),
        (
            '[energy]\npower = "power"\n[energy.tariff]\nprice = inf',
            "energy.tariff: expected prices of at least 0",
        ),
        (f"{TARIFF}export = -0.1", "energy.tariff.export: expected a price of at least 0"),
        (f"{TARIFF}export = nan", "energy.tariff.export: expected a price of at least 0"),
        (
            '[energy]\npower = "power"\n[energy.tariff]\nprice = 1\nhours = [{ from = 22, to = 6, price = 2 }]',
            "energy.tariff.hours: expected from and to within 0 to 24, from before to",
        ),
        (
            '[energy]\npower = "power"\n[energy.tariff]\nprice = 1\nhours = [{ from = 2, to = 9000000000, price = 2 }]',
            "energy.tariff.hours: expected from and to within 0 to 24, from before to",
        ),
        (
            f"{TARIFF}hours = [{{ from = 6, to = 9, price = 2 }}, {{ from = 8, to = 10, price = 3 }}]",
            "energy.tariff.hours: expected no hour of the day twice",
        ),
    ],
)
def test_a_section_that_cannot_be_is_a_fault(section: str, sentence: str, tmp_path: Path) -> None:
    assert fault(tmp_path, f"{HEAD}{section}\n{METRICS}").startswith(sentence)


@pytest.mark.parametrize(
    ("default", "error"),
    [
        ("a/b", "must not contain + # or /"),
        ("..", "must not be . or .."),
        (" a", "must not begin or end with white space"),
        ("a\u200b", "must not contain the invisible character U+200B"),
        ("a" * 129, "has 129 characters; at most 128 are allowed"),
    ],
)
def test_a_default_device_that_no_reading_could_have_is_a_fault(
    default: str, error: str, tmp_path: Path
) -> None:
    told = fault(tmp_path, f'device_default = "{default}"\n{HEAD}[metrics.t]\n')
    assert told == f"device_default: expected another device id: the device id {error}"


def test_a_tariff_may_depend_on_the_hour_of_the_day(tmp_path: Path) -> None:
    night = "hours = [{ from = 0, to = 6, price = 1 }, { from = 22, to = 24, price = 1.5 }]"
    text = f'{HEAD}[energy]\npower = "power"\n[energy.tariff]\nprice = 3\ncurrency = "EUR"\n{night}\n{METRICS}'
    energy = load(tmp_path, text)["x"].energy
    assert energy is not None
    assert energy.tariff == Tariff(3.0, "EUR", (Hours(0, 6, 1.0), Hours(22, 24, 1.5)))
    assert [energy.tariff.at(hour) for hour in (0, 5, 6, 21, 22, 23)] == [1, 1, 3, 3, 1.5, 1.5]


def test_the_shipped_machines_have_an_oee(streams: Streams) -> None:
    assert streams["machines"].oee == Oee(
        "machine_status", "performance_rate", "quality_rate", ("Running",), 300.0
    )


def test_the_shipped_panels_have_energy_and_the_documented_events(streams: Streams) -> None:
    panels = streams["panels"]
    assert panels.energy == Energy("power", "", 900.0, Tariff(1250.0, "Rp"))
    assert [(metric.name, metric.level, metric.event) for metric in panels.metrics] == [
        ("voltage", "volt", "mqtt-voltage-update"),
        ("ampere", "ampere", "mqtt-ampere-update"),
        ("power", "power", "mqtt-power-update"),
        ("energy_cost", "energy_cost", "mqtt-cost-update"),
    ]


def test_the_shipped_soil_has_the_documented_bands_and_topics(streams: Streams) -> None:
    soil = streams["soil"]
    assert {metric.name: metric.ideal for metric in soil.factors} == {
        "N": (15, 30),
        "P": (10, 25),
        "K": (100, 200),
        "CO2": (400, 600),
        "Temperature": (15, 25),
        "Moisture": (40, 60),
        "pH": (6.5, 7.5),
    }
    assert list(soil.health.topics().values()) == [
        "harit-samarth/soil-health/analysis",
        "harit-samarth/status",
    ]


def test_every_stream_is_declared_in_a_file_that_a_person_can_read(streams: Streams) -> None:
    names = {file.stem for file in (PROJECT / "streams").glob("*.toml")}
    assert (
        {stream.name for stream in streams}
        == names
        == {"anything", "sensors", "machines", "panels", "soil"}
    )
