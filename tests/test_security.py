"""What comes from a ledger, a checkpoint or a command line is read and run without trust."""

import ast
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from ayar.errors import DataError
from ayar.nets.parameters import load
from ayar.space import Choice, Float, Space
from ayar.study import Study

SOURCE = Path(__file__).parents[1] / "src" / "ayar"
UNPICKLES = {
    "run/worker.py",  # the objective, pickled by its own pool
    "run/ray.py",  # the same
    "search/evolution.py",  # its own state, from this process's memory
}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call in a file, with the words of what is called: ``"torch.load"``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


FILES = sorted(SOURCE.rglob("*.py"))


def test_nothing_is_unpickled_but_what_this_study_has_pickled_itself():
    found = {
        str(path.relative_to(SOURCE))
        for path in FILES
        for name, _ in calls(path)
        if name.split(".")[-1] in ("load", "loads", "Unpickler")
        and name.split(".")[0] in ("pickle", "cloudpickle", "dill")
    }
    assert found <= UNPICKLES


def test_no_reader_that_could_run_code_is_used():
    for path in FILES:
        for name, call in calls(path):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert name not in ("eval", "exec", "yaml.load", "marshal.loads", "os.system", "os.popen"), path
            assert name != "torch.load" or given.get("weights_only") == "True", path
            assert name not in ("np.load", "numpy.load") or given.get("allow_pickle", "False") == "False", path
            assert given.get("shell", "False") == "False", path


def test_sql_is_never_put_together_from_values():
    """SQLAlchemy's ``text`` and a driver's ``execute`` get fixed texts; values are bound.

    Statements about tables, not their rows, may name a table or a column of the schema.
    """
    for path in FILES:
        for name, call in calls(path):
            if name.split(".")[-1] in ("execute", "executemany", "text", "exec_driver_sql") and call.args:
                made = call.args[0]
                about_tables = ast.unparse(made).lstrip("f'\"").startswith(("ALTER TABLE ", "VACUUM ", "PRAGMA "))
                assert about_tables or not isinstance(made, ast.JoinedStr | ast.BinOp), f"{path}: {ast.unparse(call)}"


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_checkpoint_that_is_a_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(DataError):
        load(path)
    np.save(tmp_path / "bomb.npy", np.array([Bomb(tmp_path / "boom")], dtype=object), allow_pickle=True)
    assert not (tmp_path / "boom").exists()


def test_values_that_look_like_shell_or_sql_stay_values(tmp_path):
    told = tmp_path / "told.json"
    script = tmp_path / "train.py"
    script.write_text("import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w')); print('{\"loss\": 1}')")
    nasty = "x'); DROP TABLE trials; -- $(touch boom) `touch boom` ; touch boom"
    with Study(tmp_path / "s.db", space=Space(kind=Choice(nasty, "b")), minimize="loss", name="a'; --") as study:
        trial = study.attempt([sys.executable, str(script), str(told), "{kind}"], kind=nasty)
    assert json.loads(told.read_text()) == [nasty]
    with Study(tmp_path / "s.db", name="a'; --") as again:
        assert again.trials()[trial.id].config == {"kind": nasty}
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp/elsewhere", "..", "digits/3", "a\\b", ".hidden"])
def test_a_studys_name_leads_to_no_folder_but_one_of_its_own(tmp_path, name):
    """Its trials' folders are emptied and removed, and a study may come from somebody else's file."""
    with Study(tmp_path / "s.db", space=Space(x=Float(0.0, 1.0)), minimize="loss", name=name) as study:
        assert study.folder.resolve().parent == tmp_path / "s.db.trials"
