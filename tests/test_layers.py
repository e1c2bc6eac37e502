"""Imports go downward: the order of the floors is a test, not a wish."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ayar"

# Bottom first. A file imports from the floors before its own, or from siblings in its own room.
FLOORS = (
    "errors",
    "reporting",
    "checkpoints",
    "seeds",
    "summary",
    "threads",
    "records",
    "lineage",
    "stats",
    "goals",
    "folds",
    "leaks",
    "space",
    "curves",
    "search",
    "nets",
    "run",
    "ledger",
    "logbook",
    "interrupt",
    "progress",
    "winner",
    "confirmation",
    "budget",
    "asking",
    "thinking",
    "sealed",
    "specification",
    "recheck",
    "outcome",
    "intuition",
    "reports",
    "story",
    "tuning",
    "workshop",
    "study",
    "web",
    "integrations",
    "cli",
)
MAY_IMPORT_TORCH = {"nets", "integrations"}
OUTSIDE = {"__init__", "__main__"}  # they stand above the house and may reach everything


def module_name(path: Path, source: Path) -> str:
    """``source/search/grid.py`` -> ``search.grid``; a room's ``__init__`` has the room's name."""
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


def is_module(name: str, source: Path) -> bool:
    path = source.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(path: Path, source: Path) -> set[str]:
    """Every module that a file imports, inside functions too; the house's own without the leading ``ayar``.

    ``from ayar.search import base`` counts as ``ayar.search.base`` where that is a module: it needs nothing
    that the room's ``__init__`` gathers.
    """
    package = ["ayar", *path.relative_to(source).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            target = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{target}.{alias.name}"
                inner = full.removeprefix("ayar.")
                found.add(full if full != inner and is_module(inner, source) else target)
    return {name.removeprefix("ayar.") for name in found}


def violations(source: Path) -> list[str]:
    """What breaks the order, one sentence each."""
    wrong: list[str] = []
    for path in sorted(source.rglob("*.py")):
        module = module_name(path, source)
        floor = module.split(".")[0]
        if floor in OUTSIDE:
            continue
        if floor not in FLOORS:
            wrong.append(f"{module}: stands on no floor; put {floor!r} into FLOORS")
            continue
        height = FLOORS.index(floor)
        for imported in sorted(imports(path, source)):
            other = imported.split(".")[0]
            if other == "torch" and floor not in MAY_IMPORT_TORCH:
                wrong.append(f"{module}: imports {imported}, which is for {sorted(MAY_IMPORT_TORCH)} only")
            elif other == "ayar" and floor != FLOORS[-1]:
                wrong.append(f"{module}: imports the root, which stands above every floor")
            elif other in FLOORS and is_module(other, source) and FLOORS.index(other) > height:
                wrong.append(f"{module}: reaches up to {imported}")
            elif imported == floor and module != floor:
                wrong.append(f"{module}: imports its own room's __init__")
    return wrong


def cycle(source: Path) -> list[str]:
    """Modules that import each other in a ring; empty when there is none."""
    graph = {
        module_name(path, source): {name for name in imports(path, source) if is_module(name, source)}
        for path in source.rglob("*.py")
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_file_imports_only_from_floors_below_its_own():
    wrong = violations(SOURCE)

    assert not wrong, "\n".join(wrong)


def test_no_two_modules_import_each_other():
    assert cycle(SOURCE) == []


@pytest.fixture
def house(tmp_path):
    """A small house in good order."""
    for name, text in {
        "__init__.py": "from ayar.study import Study",
        "errors.py": "import json",
        "space.py": "from ayar.errors import SpaceError",
        "search/__init__.py": "from ayar.search.grid import Grid",
        "search/base.py": "from ayar import space",
        "search/grid.py": "from ayar.search import base\nfrom . import base as again",
        "nets/__init__.py": "import torch",
        "study.py": "from ayar.search import Grid",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_house_in_order_is_accepted(house):
    assert violations(house) == []
    assert cycle(house) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("space.py", "from ayar.study import Study", "space: reaches up to study"),
        ("space.py", "def f():\n    import ayar.study", "space: reaches up to study"),
        ("search/grid.py", "from ..study import Study", "search.grid: reaches up to study"),
        ("search/grid.py", "from ayar.search import Grid", "search.grid: imports its own room's __init__"),
        ("search/grid.py", "from . import Grid", "search.grid: imports its own room's __init__"),
        ("space.py", "from ayar import Study", "space: imports the root, which stands above every floor"),
        ("space.py", "import torch", "space: imports torch, which is for ['integrations', 'nets'] only"),
        ("space.py", "from torch.nn import Linear", "space: imports torch.nn, which is for"),
        ("attic.py", "import json", "attic: stands on no floor"),
    ],
)
def test_a_breach_is_found(house, file, text, complaint):
    """The test above can fail: each way to break the order is named."""
    (house / file).write_text(text, encoding="utf-8")

    assert [sentence for sentence in violations(house) if sentence.startswith(complaint)] != []
    assert len(violations(house)) == 1


def test_a_ring_inside_a_room_is_found(house):
    (house / "search" / "base.py").write_text("import ayar.search.grid", encoding="utf-8")

    assert set(cycle(house)) == {"search.base", "search.grid"}
