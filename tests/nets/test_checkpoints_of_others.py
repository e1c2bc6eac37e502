import torch

from ayar.checkpoints import sign
from ayar.nets.alone import Checkpoint
from ayar.records import training_key


def test_a_checkpoint_of_another_training_is_taken_only_where_it_was_left_on_purpose(tmp_path):
    Checkpoint(tmp_path, {"rate": 0.1}, 7).save({"W[1]": torch.ones(2, 2)}, {}, updates=4, step=2)
    mine = Checkpoint(tmp_path, {"rate": 0.2}, 8)

    assert mine.restored(at_most=5) is None

    sign(tmp_path, training_key({"rate": 0.1}, 7))
    restored = mine.restored(at_most=5)
    assert restored is not None
    assert (restored.step, restored.updates) == (2, 4)
    assert mine.restored(at_most=1) is None
