"""The pages of the documentation, and what is in them."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.support import PROJECT


def _pages() -> Mapping[str, str]:
    """The text of each page by its path in the project."""
    files = [PROJECT / "README.md", PROJECT / "CHANGELOG.md"]
    files += sorted((PROJECT / "docs").rglob("*.md"))
    files += sorted((PROJECT / "integrations").glob("*/README.md"))
    paths = [file.relative_to(PROJECT).as_posix() for file in files]
    return {path: (PROJECT / path).read_text(encoding="utf-8") for path in paths}


PAGES = _pages()
GUIDES = [name for name in PAGES if name != "CHANGELOG.md" and not name.startswith("docs/adr/")]


def fenced(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The same of a page."""
    return fenced(PAGES[page], language)


def commands(page: str, *programs: str) -> list[str]:
    """The commands in a page's bash blocks, of these programs if any are named, in their order."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if not programs or line.split(" ")[0] in programs]


def only(page: str, language: str) -> str:
    """The one fenced block in a language that a page has."""
    (block,) = blocks(page, language)
    return block


def section(page: str, heading: str) -> str:
    """What stands under a heading of a page, up to the next heading."""
    lines = PAGES[page].split(f"\n{heading}\n")[1].splitlines()
    end = next((at for at, line in enumerate(lines) if re.match("#+ ", line)), len(lines))
    return "\n".join(lines[:end])


def tables(text: str) -> list[list[list[str]]]:
    """The rows of each table in a text, as cells, without the heads."""
    found = re.findall(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n?)+)", text, re.MULTILINE)
    return [[_cells(row) for row in table.splitlines()] for table in found]


def named(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall("`([^`]+)`", cell)


def slugs(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def target(page: str, link: str) -> tuple[Path, str]:
    """The file and the anchor to which a link of a page leads."""
    path, _, anchor = link.partition("#")
    file = (PROJECT / page).parent / path if path else PROJECT / page
    return file.resolve(), anchor


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
