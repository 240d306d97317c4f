"""The deliberate bugs of `make mutants` fit the source, and each names a test that is there."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, PROJECT, Misplaced, Mutant, changed, survivors

MUTANT = Mutant("sums are differences", "sums.py", "a + b", "a - b", "test_sums.py::test_it_adds")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_source_and_is_still_python(mutant: Mutant) -> None:
    source = (PROJECT / mutant.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(changed(mutant, source))) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_test_that_must_catch_it_is_there(mutant: Mutant) -> None:
    file, function = mutant.test.split("[")[0].split("::")
    tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_ten_and_each_is_another_one() -> None:
    assert (
        len({(mutant.file, mutant.before, mutant.after) for mutant in MUTANTS})
        == len(MUTANTS)
        == 10
    )
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1


@pytest.mark.parametrize("source", ["a * b", "a + b or a + b"])
def test_a_mutant_whose_place_is_not_there_once_is_named(source: str) -> None:
    with pytest.raises(Misplaced, match=r"sums\.py has \d times, instead of once: 'a \+ b'"):
        changed(MUTANT, source)


@pytest.mark.parametrize(
    ("source", "before", "after", "verdict"),
    [
        ("a + b", True, False, "caught "),
        ("a + b", True, True, "SURVIVED "),
        ("a + b", False, False, "UNTESTED: "),
        ("a * b", True, False, "MISPLACED: "),
    ],
)
def test_what_became_of_a_mutant_is_told_and_the_source_is_as_before(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    before: bool,
    after: bool,
    verdict: str,
) -> None:
    file = tmp_path / "sums.py"
    file.write_text(source)

    def passes(test: str) -> bool:
        assert test == MUTANT.test
        return after if "a - b" in file.read_text() else before

    assert survivors([MUTANT], tmp_path, passes) == (verdict != "caught ")
    assert capsys.readouterr().out.startswith(verdict)
    assert file.read_text() == source
