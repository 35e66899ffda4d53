import numpy as np
import pytest

from wmrl.envs.autoreset import final_observations, joint_seed, reset_mask, step_limit


def test_a_missing_mask_is_everything():
    for options in (None, {}, {"start": 1}):
        assert reset_mask(options, 3).tolist() == [True] * 3
    mask = np.array([True, False])
    assert reset_mask({"reset_mask": mask}, 2) is mask


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([True, False], TypeError, "expected an array of bool"),
        (np.array([1, 0]), TypeError, "expected an array of bool"),
        (np.array([True]), ValueError, r"expected shape \(2,\)"),
        (np.array([False, False]), ValueError, "at least one True"),
    ],
)
def test_bad_masks_are_refused(mask, error, message):
    with pytest.raises(error, match=message):
        reset_mask({"reset_mask": mask}, 2)


def test_no_limit_is_infinite():
    assert step_limit(None) == step_limit(-1) == np.inf
    assert step_limit(7) == 7
    with pytest.raises(ValueError, match="max_episode_steps: expected at least 1, got 0"):
        step_limit(0)


def test_final_observations_lie_in_their_rows():
    final = final_observations(np.array([[1.0], [2.0]]), np.array([False, True, True]))
    assert final.dtype == object
    assert final[0] is None
    assert [row.tolist() for row in final[1:]] == [[1.0], [2.0]]


def test_seeds_of_a_batch_become_one():
    assert joint_seed(None, 2) is joint_seed([None, None], 2) is None
    assert joint_seed(7, 2) == 7
    assert joint_seed([1, 2], 2) == joint_seed((1, None, 2), 3) != joint_seed([2, 1], 2)
    with pytest.raises(ValueError, match=r"^seed: expected 3 seeds, got 2$"):
        joint_seed([1, 2], 3)
