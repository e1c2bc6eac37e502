from ayar.checkpoints import AHEAD_FILE, left_by
from ayar.records import Leg, Move, training_key
from ayar.run.command import CONFIG_FILE
from ayar.run.handover import hand_over, holds_state, is_to_retrace

BEFORE = Leg(3, {"rate": 0.1}, 7)
MOVE = Move(5, {"rate": 0.2}, 8, 3, 6, parent=2, schedule=(BEFORE,))


def test_a_copy_holds_the_parents_files_and_says_who_left_them(tmp_path):
    """What Ayar itself noted about the parent stays behind, and what was in the way is gone."""
    parent, own = tmp_path / "2", tmp_path / "5"
    (parent / "deep").mkdir(parents=True)
    (parent / "deep" / "state").write_text("of step 3")
    for note in (AHEAD_FILE, CONFIG_FILE):
        (parent / note).write_text("about trial 2")
    own.mkdir()
    (own / "stale").write_text("of an attempt that died")

    hand_over(parent, own, BEFORE)

    assert (own / "deep" / "state").read_text() == "of step 3"
    assert {path.name for path in own.iterdir()} == {"deep", "ayar_left_by.txt"}
    assert left_by(own) == training_key({"rate": 0.1}, 7)
    assert left_by(parent) is None
    assert not is_to_retrace(MOVE, own)


def test_without_files_of_the_parent_the_legs_are_trained_again(tmp_path):
    parent, own = tmp_path / "2", tmp_path / "5"
    parent.mkdir()
    (parent / CONFIG_FILE).write_text("{}")

    hand_over(parent, own, BEFORE)

    assert not own.exists()
    assert not holds_state(parent)
    assert is_to_retrace(MOVE, own)
    assert not is_to_retrace(Move(5, {}, 8, 0, 6), own)  # it has no legs
