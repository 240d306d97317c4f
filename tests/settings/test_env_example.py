"""`.env.example` shows every setting, with a sentence and the default."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import PROJECT, Settings

EXAMPLE = PROJECT / ".env.example"
_ASSIGNMENT = re.compile(r"#? ?([A-Z][A-Z0-9_]*)=(.*)")
SETTINGS = sorted(Settings.model_fields)


def shown() -> list[tuple[str, str, str]]:
    """Of each variable in the example: its name, the value shown, and the line above."""
    lines = ["", *EXAMPLE.read_text(encoding="utf-8").splitlines()]
    found = [(_ASSIGNMENT.fullmatch(line), above) for above, line in pairwise(lines)]
    return [(match[1], match[2], above) for match, above in found if match]


def value_of(name: str) -> str:
    return next(value for variable, value, _ in shown() if variable == name.upper())


def test_it_shows_each_setting_once_and_nothing_else() -> None:
    assert sorted(name for name, _, _ in shown()) == sorted(name.upper() for name in SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_sentence_stands_above(name: str) -> None:
    above = next(above for variable, _, above in shown() if variable == name.upper())
    assert above.startswith("# ")
    assert not _ASSIGNMENT.fullmatch(above)
    assert len(above.split()) > 3


@pytest.mark.parametrize("name", SETTINGS)
def test_the_value_shown_is_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = value_of(name)
    default = Settings.model_fields[name].default
    if default is None or (isinstance(default, Path) and default.is_absolute()):
        # There is no text that every installation could show.
        assert not value
        return
    monkeypatch.setenv(name.upper(), value)
    read = getattr(Settings(_env_file=None), name)
    assert (read.get_secret_value() if isinstance(read, SecretStr) else read) == default


@pytest.mark.parametrize(
    "uncommented", [False, True], ids=["as it is", "with every setting uncommented"]
)
def test_a_copy_of_it_changes_nothing(uncommented: bool, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    if uncommented:
        text = "\n".join(f"{name}={value}" for name, value, _ in shown())
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    assert Settings() == Settings(_env_file=None)
