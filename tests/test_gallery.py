"""The gallery is true: its nets, trained again, get the verdicts that the page shows them for."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from ayar.curves import VERDICTS

PATH = Path(__file__).parents[1] / "benchmarks" / "gallery.py"
SPEC = importlib.util.spec_from_file_location("gallery", PATH)
gallery = importlib.util.module_from_spec(SPEC)
sys.modules["gallery"] = gallery  # dataclasses look their module up by its name
SPEC.loader.exec_module(gallery)


def test_the_page_has_one_section_for_each_verdict():
    sections = re.findall(r"^## (.*)$", gallery.PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert [section.lower() for section in sections] == list(VERDICTS)
    assert [example.verdict for example in gallery.EXAMPLES] == list(VERDICTS)


def test_each_verdict_has_its_picture():
    shown = re.findall(r"\]\(gallery/(.*?)\)", gallery.PAGE.read_text(encoding="utf-8"))

    assert sorted(shown) == sorted(path.name for path in gallery.PICTURES.iterdir())
    assert len(shown) == len(VERDICTS)
    marked = [name for name in shown if 'class="place"' in (gallery.PICTURES / name).read_text(encoding="utf-8")]
    assert set(shown) - set(marked) == {"no_clear_fault.svg"}


@pytest.mark.parametrize("example", gallery.EXAMPLES, ids=lambda example: example.verdict)
def test_each_net_gets_the_verdict_it_is_shown_for(example):
    _, said = gallery.read(example)

    assert example.verdict in [verdict.name for verdict in said]
