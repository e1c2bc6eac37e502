"""The documentation is true: its examples run, its commands exist, its links lead somewhere."""

import argparse
import re
from pathlib import Path

import pytest

from ayar.cli.main import parser

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str | None = None) -> list[str]:
    """The fenced blocks of a page, of one language or of all."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for name, text in found if language is None or name == language]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command of ``ayar``, with its parser."""
    actions = parser()._actions
    return next(dict(a.choices) for a in actions if isinstance(a, argparse._SubParsersAction))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=page_id)
def test_the_python_examples_run(page, tmp_path, monkeypatch):
    """From top to bottom in one namespace, as a reader who types them in would."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for number, source in enumerate(blocks(page, "python"), 1):
        exec(compile(source, f"{page.name}, example {number}", "exec"), namespace)
    assert len(namespace) > 1


def commands_named_in(page: Path) -> set[str]:
    """Commands in shell blocks, and in inline code: ``ayar tune``."""
    text = "\n".join([*blocks(page, "bash"), *re.findall(r"`([^`\n]+)`", prose(page))])
    return set(re.findall(r"(?:^|[\s/])ayar ([a-z]+)\b", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_each_command_that_a_page_names_exists(page):
    assert commands_named_in(page) - set(commands()) == set()


def test_each_command_is_documented():
    documented = set().union(*map(commands_named_in, PAGES))

    assert set(commands()) - documented == set()


@pytest.mark.parametrize("name", commands())
def test_each_command_shows_an_example_in_its_help(name):
    assert re.search(rf"Example: ayar {name}\b", commands()[name].format_help())


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose(page))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]

    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_turkish_readme_says_the_same():
    """It has the same headings and the very same examples, so neither can grow old alone."""
    english, turkish = ROOT / "README.md", ROOT / "README.tr.md"

    def heading_levels(page):
        return re.findall(r"^(#+) ", prose(page), re.MULTILINE)

    assert heading_levels(english) == heading_levels(turkish)
    assert blocks(english) == blocks(turkish)
    assert len(blocks(english)) > 0
