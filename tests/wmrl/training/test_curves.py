"""Means of curves, as numbers by hand, and the runs that belong together."""

from pathlib import Path
from typing import Any

import numpy as np

from wmrl.training.curves import RunGroup, group_by_folder, group_by_seed, mean_curve


def curve(**values: float) -> tuple[np.ndarray, np.ndarray]:
    """A curve from the values at steps ``s1``, ``s2`` …"""
    return np.array([int(name[1:]) for name in values]), np.array(list(values.values()))


def test_three_runs_with_the_same_steps() -> None:
    found = mean_curve([curve(s1=1.0, s2=4.0), curve(s1=2.0, s2=4.0), curve(s1=6.0, s2=4.0)])
    assert found is not None
    np.testing.assert_array_equal(found.steps, [1, 2])
    np.testing.assert_allclose(found.mean, [3.0, 4.0])
    # Deviations −2, −1 and 3: s² = 14 / 2, and s / √3 = √(7 / 3).
    np.testing.assert_allclose(found.error, [np.sqrt(7 / 3), 0.0])


def test_steps_of_their_own_are_interpolated_where_all_runs_are() -> None:
    found = mean_curve([curve(s0=0.0, s4=8.0), curve(s2=1.0, s3=5.0, s6=5.0)])
    assert found is not None
    np.testing.assert_array_equal(found.steps, [2, 3, 4])
    np.testing.assert_allclose(found.mean, [(4 + 1) / 2, (6 + 5) / 2, (8 + 5) / 2])
    np.testing.assert_allclose(found.error, [1.5, 0.5, 1.5])  # half the difference of two
    assert mean_curve([curve(s1=1.0, s2=1.0), curve(s3=1.0)]) is None
    single = mean_curve([curve(s5=1.0), curve(s5=3.0)])
    assert single is not None
    assert (single.steps.tolist(), single.mean.tolist(), single.error.tolist()) == ([5], [2], [1])


def write_run(folder: Path, text: str, *, inner: str = ".") -> Path:
    (folder / inner).mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text(text)
    return folder / inner


def options(command: str = "train-vision", **values: Any) -> str:
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    return "\n".join([f"# The options of wmrl {command}.", "", *lines, ""])


def test_runs_that_differ_by_the_seed_are_one_group(tmp_path: Path) -> None:
    given = [
        ("a", options(out="a", steps=5, seed=0, workers=1)),
        ("b", options(out="b", steps=5, seed=2, device="cpu")),
        ("other-steps", options(out="c", steps=6, seed=1)),
        ("other-command", options("train-memory", out="d", steps=5, seed=1)),
        ("damaged", "seed = "),
        ("table-0", options(seed=3) + "[video]\nwidth = 9\n"),
        ("table-1", options(seed=4) + "[video]\nwidth = 8\n"),
    ]
    runs = [write_run(tmp_path / name, text) for name, text in given]
    none = tmp_path / "no-file"
    none.mkdir()
    groups = group_by_seed([*runs, none])
    assert groups[0] == RunGroup(f"{tmp_path / 'a'}, seeds 0, 2", (tmp_path / "a", tmp_path / "b"))
    alone = [name for name, _ in given[2:]] + ["no-file"]
    assert groups[1:] == [RunGroup(str(tmp_path / name), (tmp_path / name,)) for name in alone]


def test_the_same_seed_twice_is_no_group(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, options(seed=1)) for name in "ab"]
    assert [group.runs for group in group_by_seed(runs)] == [(run,) for run in runs]


def test_runs_inside_a_folder_are_grouped_by_their_place(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"seed-{seed}", options(seed=seed), inner=f"member-{member}")
        for seed in range(2)
        for member in range(2)
    ]
    found = [group.runs for group in group_by_seed(runs)]
    assert found == [tuple(runs[::2]), tuple(runs[1::2])]


def test_runs_in_one_folder(tmp_path: Path) -> None:
    runs = [tmp_path / "ppo" / "0", tmp_path / "ppo" / "1", tmp_path / "cma" / "0"]
    assert group_by_folder(runs) == [
        RunGroup(f"{tmp_path / 'ppo'}, 2 runs", tuple(runs[:2])),
        RunGroup(str(runs[2]), (runs[2],)),
    ]
