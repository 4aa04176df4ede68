"""An event of more tokens than a network may be shown is counted and answered as an empty image is; none is cut."""

import numpy as np

from shiftlab.arms import observe_all, predict_all
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.tasks import named_tasks

TASKS = named_tasks(["segmentation", "flavour", "energy"])


def test_long_events_get_the_answer_without_information_and_all_others_theirs(arm, view):
    image, truth = view
    free = observe_all([arm], image, truth)[arm.contract]
    lengths = free.patches.lengths
    most = int(lengths.float().quantile(0.6))
    seen = observe_all([arm], image, truth, TokenLimit(most))
    left_out = seen[arm.contract].left_out.numpy()
    assert np.array_equal(left_out, lengths.numpy() > most)
    assert 0 < left_out.sum() < len(left_out)
    whole, limited = (predict_all([arm], image, truth, TASKS, one)[0] for one in ({arm.contract: free}, seen))
    for task in TASKS:
        asked = task.scored(image.events)
        long = left_out[asked]
        assert long.any()
        np.testing.assert_allclose(limited[task.name][~long], whole[task.name][~long], rtol=1e-4, atol=1e-4)
        if task.level == "event":
            assert np.array_equal(limited[task.name][long], np.tile(np.float32(task.empty), (long.sum(), 1)))


def test_voxels_of_long_events_count_as_lost_and_not_as_the_first_class(arm, view):
    image, truth = view
    seen = observe_all([arm], image, truth, TokenLimit(1))
    left_out = seen[arm.contract].left_out.numpy()
    counts = predict_all([arm], image, truth, TASKS, seen)[0]["segmentation"][left_out, :36].reshape(-1, 6, 6)
    assert counts[..., 5].sum() > 0
    assert counts[..., :5].sum() == 0
