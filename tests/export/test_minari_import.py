"""Minari datasets of others as stores: what fits is equal, and what does not is said or refused."""

import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari import EpisodeData
from minari.data_collector import EpisodeBuffer

from wmrl.data.store import Episode, RolloutStore
from wmrl.envs import Task
from wmrl.export import MinariWarning, from_minari, to_minari
from wmrl.export._minari_reader import EpisodeReader
from wmrl.scripts.cli import run

IMAGES = spaces.Box(0, 255, (40, 36, 3), np.uint8)
TWO = spaces.Discrete(2)
MakeDataset = Callable[..., minari.MinariDataset]


def sampled(space: spaces.Space[Any], count: int) -> Any:
    """``count`` samples of a space, in the form of Minari: a dictionary or tuple of arrays."""
    if isinstance(space, spaces.Dict):
        return {key: sampled(part, count) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(sampled(part, count) for part in space)
    space.seed(count)
    return np.stack([space.sample() for _ in range(count)])


@pytest.fixture
def make_dataset(datasets: Path) -> MakeDataset:
    """Writes a dataset of two episodes with Minari's own functions."""

    def make(
        observations: spaces.Space[Any] = IMAGES,
        actions: spaces.Space[Any] = TWO,
        *,
        lengths: tuple[int, ...] = (3, 5),
        rewards: Any = None,
        seeds: bool = True,
        jpeg: bool = False,
        env: str | None = "CartPole-v1",
        **episode: Any,
    ) -> minari.MinariDataset:
        buffer = [
            EpisodeBuffer(
                seed=10 + number if seeds else None,
                observations=sampled(observations, count + 1),
                actions=sampled(actions, count),
                rewards=np.full(count, 0.5) if rewards is None else rewards(count),
                terminations=np.arange(count) == count - 1,
                truncations=np.zeros(count, np.bool_),
                **{"infos": {}, **episode},
            )
            for number, count in enumerate(lengths)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its author and the like
            return minari.create_dataset_from_buffers(
                "own/made-v0",
                buffer,
                env=env,
                observation_space=observations,
                action_space=actions,
                jpeg_encoding=jpeg,
                algorithm_name="made up",
            )

    return make


def assert_equal(left: minari.MinariDataset, right: minari.MinariDataset) -> None:
    assert len(left) == len(right) > 0
    assert left.action_space == right.action_space
    assert left.observation_space == right.observation_space
    for number in range(len(left)):
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            one, other = (getattr(dataset[number], name) for dataset in (left, right))
            np.testing.assert_array_equal(one, other)
    about = [list(each.storage.get_episode_metadata(range(len(each)))) for each in (left, right)]
    assert [each["seed"] for each in about[0]] == [each["seed"] for each in about[1]]


@pytest.mark.parametrize(
    "actions",
    [
        spaces.Box(-1, 1, (2,)),
        spaces.Discrete(3, start=4),
        spaces.MultiDiscrete([3, 2], start=[1, 0]),
        spaces.MultiBinary(4),
    ],
)
def test_a_dataset_returns_equal(
    actions: spaces.Space[Any], make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset(actions=actions)
    store = from_minari(dataset, tmp_path / "store", progress=False)
    assert store.indices == [0, 1]
    assert [store.summary(index).terminated for index in store.indices] == [True, True]
    assert [store.info(index)["seed"] for index in store.indices] == [10, 11]
    assert_equal(dataset, to_minari(store, "own/again-v0", progress=False))


def test_a_store_says_where_it_is_from(make_dataset: MakeDataset, tmp_path: Path) -> None:
    options = {"difficulty": {"level": 3}, "name": "maze"}
    make_dataset(options=options)
    path = tmp_path / "datasets" / "own" / "made-v0"
    store = from_minari(path, tmp_path / "store", frame_skip=4, progress=False)
    assert store.metadata.task == "CartPole-v1"
    assert store.metadata.frame_skip == 4
    assert store.metadata.policy == {
        "name": "minari",
        "dataset": "own/made-v0",
        "algorithm_name": "made up",
    }
    assert store.info(1) == {"seed": 11, "frames": 20, "options": options}
    assert from_minari("own/made-v0", tmp_path / "other", progress=False).metadata.frame_skip == 1


def test_gray_frames_get_an_axis(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(spaces.Box(0, 255, (40, 36), np.uint8))
    store = from_minari(dataset, tmp_path / "store", progress=False)
    np.testing.assert_array_equal(store.frames(0)[..., 0], dataset[0].observations)


def test_one_image_of_a_dictionary(make_dataset: MakeDataset, tmp_path: Path) -> None:
    parts = {"image": IMAGES, "speed": spaces.Box(0, 1, (1,))}
    dataset = make_dataset(spaces.Dict(parts))
    store = from_minari(dataset, tmp_path / "store", observation_key="image", progress=False)
    np.testing.assert_array_equal(store.frames(1), dataset[1].observations["image"])


def test_a_function_makes_frames_of_anything(make_dataset: MakeDataset, tmp_path: Path) -> None:
    inner = spaces.Box(0, 1, (3, 40, 36), np.float32)
    dataset = make_dataset(spaces.Dict({"cameras": spaces.Tuple([TWO, inner])}))

    def frame(cameras: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return (255 * cameras[1].transpose(1, 2, 0)).round().astype(np.uint8)

    options = {"observation_key": "cameras", "frame": frame, "progress": False}
    store = from_minari(dataset, tmp_path / "store", **options)
    expected = 255 * dataset[0].observations["cameras"][1].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(store.frames(0), expected.round().astype(np.uint8))


def test_filtered_episodes_stay_out(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset().filter_episodes(lambda episode: len(episode) > 3)
    store = from_minari(dataset, tmp_path / "store", progress=False)
    assert [summary.length for summary in store.summaries] == [5]
    assert store.info(0)["seed"] == 11


def test_one_episode_is_in_memory(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(lengths=(3, 4, 5, 6))
    alive: weakref.WeakSet[EpisodeData] = weakref.WeakSet()
    most = 0
    convert = EpisodeReader._episode

    def counted(self: Any, data: EpisodeData, *given: Any) -> Episode:
        nonlocal most
        alive.add(data)
        most = max(most, len(alive))
        return convert(self, data, *given)

    monkeypatch.setattr(EpisodeReader, "_episode", counted)
    monkeypatch.setattr(EpisodeData, "__hash__", object.__hash__)
    from_minari(dataset, tmp_path / "store", progress=False)
    assert 1 <= most <= 2  # the last one, and the one that takes its place


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"rewards": lambda count: np.full(count, 0.1)},
            r"the rewards are rounded to float32 \(in 2 of 2 episodes\)",
        ),
        (
            {"actions": spaces.Box(-1, 1, (2,), np.float64)},
            r"the actions are rounded to float32 \(in 2 of 2 episodes\)",
        ),
        ({"seeds": False}, "there are no seeds"),
        (
            {"infos": {"lives": np.zeros(4), "x": np.ones(4)}, "lengths": (3,)},
            r"the infos of steps are left out, with the keys 'lives', 'x' \(in 1 of 1 episodes\)",
        ),
        ({"jpeg": True}, "the frames are stored as JPEG"),
    ],
)
def test_losses_are_said(
    given: dict[str, Any], message: str, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset(**given)
    with pytest.warns(MinariWarning, match=message):
        store = from_minari(dataset, tmp_path / "store", progress=False)
    np.testing.assert_array_equal(store.rewards(0), dataset[0].rewards.astype(np.float32))
    if not given.get("seeds", True):
        assert store.info(0)["seed"] is None


FLOATS = spaces.Box(0, 1, (40, 36, 3), np.float32)


@pytest.mark.parametrize(
    ("spaces_", "options", "message"),
    [
        ([spaces.Box(-1, 1, (4,))], {}, r"observations: expected images, got Box\(.*; give a func"),
        ([spaces.Tuple([IMAGES, TWO])], {}, "observations: expected images, got Tuple.*'frame'"),
        (
            [spaces.Dict({"image": IMAGES, "map": IMAGES, "speed": TWO})],
            {},
            "observation_key: expected the key of an image, .* give 'image' or 'map'",
        ),
        ([spaces.Dict({"x": TWO})], {}, "observation_key: expected the key of an image.*give 'x'"),
        (
            [spaces.Dict({"image": IMAGES})],
            {"observation_key": "screen"},
            "observation_key: expected a key of the observations, got 'screen'; give 'image'",
        ),
        (
            [spaces.Dict({"image": IMAGES, "speed": TWO})],
            {"observation_key": "speed"},
            r"observations: expected images, got Discrete\(2\)",
        ),
        (
            [IMAGES],
            {"observation_key": "image"},
            "observation_key: expected None, because the observations are no dictionaries",
        ),
        ([FLOATS], {}, r"float32; convert numbers in \[0, 1\] with .* in the argument 'frame'"),
        ([spaces.Box(0, 255, (3, 40, 36), np.uint8)], {}, "move the channels last with"),
        ([spaces.Box(0, 255, (40, 36, 4), np.uint8)], {}, "drop the alpha channel with"),
        ([spaces.Box(0, 255, (4, 40, 36, 3), np.uint8)], {}, "take one of the stacked frames"),
        (
            [IMAGES, spaces.Tuple([TWO, TWO])],
            {},
            r"actions: expected a Box .* got Tuple\(.*; write",
        ),
        ([IMAGES, spaces.Box(-1, 1, (2, 2))], {}, r"actions: expected a Box of real .* one axis"),
        ([IMAGES], {"frame_skip": 0}, "frame_skip: expected at least 1, got 0"),
    ],
)
def test_what_a_store_cannot_hold_is_refused(
    spaces_: list[spaces.Space[Any]],
    options: dict[str, Any],
    message: str,
    make_dataset: MakeDataset,
    tmp_path: Path,
) -> None:
    dataset = make_dataset(*spaces_)
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match=message) as error:
        from_minari(dataset, tmp_path / "store", progress=False, **options)
    assert "\n" not in str(error.value)
    assert set(tmp_path.iterdir()) == before


def test_episodes_that_do_not_fit_are_named(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(rewards=lambda count: np.full(count, np.nan if count == 5 else 1.0))
    message = r"rewards: expected finite numbers, .* \(episode 1 of own/made-v0\)"
    with pytest.raises(ValueError, match=message):
        from_minari(dataset, tmp_path / "store", progress=False)
    sizes = iter([40] * 5 + [44] * 5)

    def frame(observation: np.ndarray) -> np.ndarray:
        return np.zeros((next(sizes), 40, 3), np.uint8)

    message = r"expected frames of one shape, got \(40, 40, 3\) at first, and \(44, 40, 3\) at"
    with pytest.raises(ValueError, match=message):
        from_minari(dataset.filter_episodes(bool), tmp_path / "store", frame=frame, progress=False)


def test_an_observation_after_the_last_step_is_needed(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset(observations=IMAGES, lengths=(3,), rewards=lambda count: np.ones(4))
    with pytest.raises(ValueError, match="observations: expected one more than steps, got only 4"):
        from_minari(dataset, tmp_path / "store", progress=False)


def test_the_game_must_be_known(make_dataset: MakeDataset, tmp_path: Path, toy: Task) -> None:
    dataset = make_dataset(env=None)
    with pytest.raises(
        ValueError, match=r"task: expected a task, because own/made-v0 does not say"
    ):
        from_minari(dataset, tmp_path / "store", progress=False)
    store = from_minari(dataset, tmp_path / "store", task=toy, progress=False)
    assert store.metadata.task == "toy"


@pytest.fixture
def toy() -> Task:
    return Task(
        name="toy",
        env_id="CartPole-v1",
        action_space=TWO,
        crop_rows=(0, 36),
        frame_size=(18, 18),
        frame_stack=2,
        warmup_frames=3,
        start_window=1,
    )


def test_a_task_fits_the_frames(make_dataset: MakeDataset, tmp_path: Path, toy: Task) -> None:
    dataset = make_dataset()
    store = from_minari(dataset, tmp_path / "store", task=toy, progress=False)
    metadata = store.metadata
    assert (metadata.frame_stack, metadata.warmup_frames, metadata.start_window) == (2, 3, 1)
    expected = [toy.observe(None, each) for each in dataset[0].observations]  # type: ignore[arg-type]
    np.testing.assert_array_equal(store.frames(0), expected)
    assert store.frames(0).shape == (4, 18, 18, 3)
    other = replace(toy, action_space=spaces.Discrete(3))
    with pytest.raises(ValueError, match=r"expected a task with the actions Discrete\(2\)"):
        from_minari(dataset, tmp_path / "other", task=other, progress=False)


def test_ends_are_recorded_as_by_collect(
    make_dataset: MakeDataset, tmp_path: Path, toy: Task
) -> None:
    infos = {"won": np.array([False, False, False, True])}
    dataset = make_dataset(lengths=(3,), infos=infos)
    task = replace(toy, completed_key="won", blank_final_frame=True)
    with pytest.warns(MinariWarning, match="the infos of steps"):
        store = from_minari(dataset, tmp_path / "store", task=task, progress=False)
    assert (store.summary(0).terminated, store.summary(0).truncated) == (False, True)
    frames = store.frames(0)
    np.testing.assert_array_equal(frames[-1], frames[-2])
    assert not np.array_equal(frames[-2], frames[-3])


@pytest.mark.usefixtures("datasets")
def test_a_store_within_a_dataset_is_restored_as_it_is(
    make_rollouts: Callable[..., RolloutStore], tmp_path: Path, toy: Task
) -> None:
    store = make_rollouts((4, 2))
    to_minari(store, "bar-v0", progress=False)
    bar = replace(toy, name="bar")  # the store's task, which would fit frames in another way
    restored = from_minari("bar-v0", tmp_path / "new", task=bar, frame_skip=4, progress=False)
    assert restored.content_hash() == store.content_hash()
    for name, value in (
        ("task", toy),
        ("frame_skip", 2),
        ("observation_key", "image"),
        ("frame", np.copy),
    ):
        message = f"{name}: expected no value, because bar-v0 holds a rollout store"
        with pytest.raises(ValueError, match=message):
            from_minari("bar-v0", tmp_path / "x", progress=False, **{name: value})


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize("name", ["toy/nothing-v0", "no-version", "runs/nothing"])
def test_datasets_that_are_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dataset: expected "):
        from_minari(name, tmp_path / "store", progress=False)


def test_damaged_datasets_are_refused(make_dataset: MakeDataset, tmp_path: Path) -> None:
    path = make_dataset().storage.data_path / "metadata.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(ValueError, match="expected a dataset that the installed Minari can read"):
        from_minari("own/made-v0", tmp_path / "store", progress=False)


def test_what_is_there_stays(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "note.txt").write_text("mine")
    from_minari(dataset, tmp_path / "store", progress=False)
    for path in (tmp_path / "notes", tmp_path / "store", tmp_path / "notes" / "note.txt"):
        with pytest.raises(ValueError, match="path: expected a new or empty folder, got"):
            from_minari(dataset, path, progress=False)
    (tmp_path / "empty").mkdir()
    assert len(from_minari(dataset, tmp_path / "empty", progress=False)) == 2


def test_nothing_remains_of_a_failure(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    before = set(tmp_path.iterdir())
    write = RolloutStore.write

    def fail(self: RolloutStore, index: int, episode: Any) -> Any:
        if index == 1:
            raise OSError("disk full")
        return write(self, index, episode)

    monkeypatch.setattr(RolloutStore, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        from_minari(dataset, tmp_path / "store", progress=False)
    assert set(tmp_path.iterdir()) == before


def test_command(
    make_dataset: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(spaces.Dict({"image": IMAGES}), spaces.Box(-1, 1, (3,)))
    words = ["import", "minari", "own/made-v0", "-o", str(tmp_path / "store")]
    assert run(words) == 2
    assert "give 'image'" in capsys.readouterr().err
    assert run([*words, "--observation-key", "image", "--task", "car-racing"]) == 2
    assert "task: expected a task with the actions" in capsys.readouterr().err
    assert run([*words, "--observation-key", "image", "--frame-skip", "2"]) == 0
    assert "store: 2 episodes, 8 agent steps" in capsys.readouterr().out
    assert RolloutStore(tmp_path / "store").metadata.frame_skip == 2
