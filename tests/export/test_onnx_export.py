"""Models as ONNX: ONNX Runtime's results are PyTorch's, over 1,000 recurrent steps."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from wmrl.export import OnnxExport, OnnxExportError, export_onnx, onnx_export
from wmrl.export._onnx_conversion import _difference, compare
from wmrl.export._onnx_graphs import model_graphs
from wmrl.memory import (
    MDNRNN,
    CodeMemory,
    CodeMemoryConfig,
    CodeMemoryEnsemble,
    MDNRNNConfig,
    Memory,
    MemoryEnsemble,
    load_memory,
)
from wmrl.nn import clustering
from wmrl.scripts.cli import run
from wmrl.storage import ArtifactError
from wmrl.vision import VAE, VQVAE, VAEConfig, VQVAEConfig, load_vision

pytestmark = pytest.mark.usefixtures("one_registry")

Sessions = dict[str, onnxruntime.InferenceSession]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_vae() -> VAE:
    config = VAEConfig(
        base_channels=2,
        latent_dim=4,
        mean_frame=True,
        frame_size=(33, 40),
        channels=1,
        frame_stack=2,
    )
    vae = VAE(config)
    vae.mean_frame.copy_(torch.rand(vae.mean_frame.shape, generator=seeded(0)))
    return vae


def make_vqvae(quantizer: Any) -> VQVAE:
    config = VQVAEConfig(
        base_channels=2,
        residual_channels=2,
        quantizer=quantizer,
        codebook_size=6,
        code_dim=2,
        levels=(3, 4),
        num_downsamplings=4,
        num_residual_blocks=1,
        rezero=True,
    )
    vqvae = VQVAE(config)
    vqvae.quantizer.init_codebook(torch.randn(60, 2, generator=seeded(0)), generator=seeded(1))
    return vqvae


MDN_RNN = MDNRNNConfig(latent_dim=4, hidden_dim=8, num_mixtures=3, action_dim=3, dropout=0.5)
CODES = CodeMemoryConfig(
    grid=(2, 3), codebook_size=7, code_dim=2, hidden_dim=8, token_dim=4, action_dim=3, dropout=0.5
)


def make_code_memory(config: CodeMemoryConfig, seed: int = 0) -> CodeMemory:
    memory = CodeMemory(config, generator=seeded(seed))
    memory.set_codebook(torch.randn(7, 2, generator=seeded(2)))
    with torch.no_grad():
        for parameter in memory.sequence_model.parameters():
            parameter.add_(0.1)  # learned initial states, too
    return memory


def make_memory(kind: str) -> Memory[Any]:
    both = replace(MDN_RNN, features="cell_and_hidden", reward_scale=0.25)
    return {
        "mdn-rnn": lambda: MDNRNN(MDN_RNN),
        "ensemble": lambda: MemoryEnsemble.of(
            [MDNRNN(both, generator=seeded(seed)) for seed in range(2)], noise_floor=0.8
        ),
        "code ensemble": lambda: CodeMemoryEnsemble.of(
            [make_code_memory(CODES, seed) for seed in range(1)]
        ),
        "transformer": lambda: make_code_memory(
            replace(CODES, sequence_model="transformer", context=5)
        ),
        "moving codes": lambda: make_code_memory(
            replace(CODES, kernel_size=(1, 3), history=3, modulation=True)
        ),
    }[kind]()


def open_sessions(path: Path) -> Sessions:
    return {
        each.stem: onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"])
        for each in sorted(path.glob("*.onnx"))
    }


def run_session(session: onnxruntime.InferenceSession, **inputs: np.ndarray) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def random_frames(vision: Any, count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, *vision.input_shape), dtype=np.uint8)


def assert_same_vision(vision: Any, sessions: Sessions) -> None:
    for count in (1, 5, 64):
        frames = random_frames(vision, count)
        latents = vision.encode_numpy(frames)
        if isinstance(vision, VQVAE):
            codes = run_session(sessions["encode"], frames=frames)["codes"]
            np.testing.assert_array_equal(codes, vision.codes(torch.from_numpy(frames)).numpy())
            found = run_session(sessions["lookup"], codes=codes)["latents"]
            np.testing.assert_array_equal(found, latents)
        else:
            found = run_session(sessions["encode"], frames=frames)["latents"]
            np.testing.assert_allclose(found, latents, rtol=0, atol=1e-4)
        decoded = run_session(sessions["decode"], latents=latents)["frames"]
        expected = vision.decode_numpy(latents)
        assert decoded.dtype == np.uint8
        assert decoded.shape == expected.shape == (count, *vision.frame_shape)
        assert np.abs(decoded.astype(int) - expected).max() <= 1


VISIONS: dict[str, Callable[[], Any]] = {
    "vae": make_vae,
    "vqvae": lambda: make_vqvae("ema"),
    "fsq": lambda: make_vqvae("fsq"),
}


@pytest.mark.parametrize("kind", VISIONS)
def test_vision_models(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vision = VISIONS[kind]()
    monkeypatch.setattr(clustering, "_MAX_PAIRS", 20)  # which graphs of any batch must not know
    export_onnx(vision, tmp_path / "onnx")
    assert_same_vision(vision.eval(), open_sessions(tmp_path / "onnx"))


@torch.inference_mode()
def run_both(
    memory: Memory[Any], path: Path, *, steps: int, rows: int
) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """All outputs of a memory and of its export, which get the same inputs: those of a dream."""
    session = open_sessions(path)["step"]
    (described,) = [
        graph
        for name, graph in json.loads((path / "model.json").read_text())["graphs"].items()
        if name == "step.onnx"
    ]
    theirs = {
        each["name"]: np.broadcast_to(
            np.array(each["initial"], each["dtype"]), (rows, *each["shape"][1:])
        )
        for each in described["inputs"]
        if "initial" in each
    }
    state = memory.initial_state(rows)
    for part, other in zip(state, theirs.values(), strict=True):
        np.testing.assert_array_equal(part.numpy(), other)
    generator = seeded(3)
    latents = first_latents(memory, rows, generator)
    outputs = []
    for _ in range(steps):
        action = 2 * torch.rand(rows, memory.action_dim, generator=generator) - 1
        prediction, state = memory.step(latents, action, state)
        got = run_session(session, latents=latents.numpy(), action=action.numpy(), **theirs)
        latents = memory.sample(prediction, generator=generator).latent
        theirs = {name: got[f"next_{name}"] for name in theirs}
        expected = {
            **expected_parameters(memory, prediction),
            "features": memory.features(state),
            **{f"next_state_{i}": part for i, part in enumerate(state)},
        }
        outputs.append(({name: part.numpy() for name, part in expected.items()}, got))
    return outputs


def first_latents(memory: Any, rows: int, generator: torch.Generator) -> Tensor:
    if memory.num_start_states:
        indices = torch.randint(memory.num_start_states, (rows,), generator=generator)
        return memory.start_latents(indices, generator)[:, -1]
    if isinstance(memory, CodeMemory | CodeMemoryEnsemble):
        shape = (rows, memory.start_codes.shape[2])
        return memory.latents_of(torch.randint(memory.codebook_size, shape, generator=generator))
    return torch.randn(rows, memory.latent_dim, generator=generator)


def expected_parameters(memory: Any, prediction: Any) -> dict[str, Tensor]:
    if isinstance(memory, MemoryEnsemble):
        pairs = zip(memory.members, prediction.members, strict=True)
        members = [expected_parameters(member, each) for member, each in pairs]
        names = [name for name in members[0] if name not in ("reward", "termination")]
        stacked = {name: torch.stack([each[name] for each in members], 1) for name in names}
        return {**stacked, "reward": prediction.reward, "termination": prediction.termination}
    if isinstance(memory, CodeMemory):
        logits = memory.classify(memory.refine(prediction.places))
        return {"logits": logits, **dict(list(prediction._asdict().items())[1:])}
    return prediction._asdict()


def assert_same_outputs(outputs: list[Any]) -> None:
    """Checks outputs up to 1e-4; of logits of 100, float32 keeps fewer digits."""
    for expected, got in outputs:
        assert expected.keys() == got.keys()
        for name, values in expected.items():
            assert values.dtype == got[name].dtype, name
            assert got[name].shape == values.shape, name
            gap = np.abs(got[name] - values) / np.maximum(1, np.abs(values))
            assert gap.max() < 1e-4, name


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], OnnxExport]:
    """The export of a memory, made once, in training mode."""
    return cache(
        lambda kind: export_onnx(
            make_memory(kind).train(), tmp_path_factory.mktemp("exports") / "onnx"
        )
    )


Exported = Callable[[str], OnnxExport]


MEMORIES = ("mdn-rnn", "ensemble", "code ensemble", "transformer", "moving codes")


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        *zip(MEMORIES, (1000, 50, 50, 50, 50), strict=True),
        *(pytest.param(kind, 1000, marks=pytest.mark.slow) for kind in MEMORIES[1:]),
    ],
)
def test_memories_for_many_steps(kind: str, steps: int, exported: Exported) -> None:
    memory, export = make_memory(kind).eval(), exported(kind)
    assert export.largest_difference < 1e-4
    assert_same_outputs(run_both(memory, export.path, steps=steps, rows=2))
    assert_same_outputs(run_both(memory, export.path, steps=3, rows=50))
    if isinstance(memory, CodeMemory | CodeMemoryEnsemble):
        codes = np.array([[0, 6, 2, 3, 4, 5]])
        found = run_session(open_sessions(export.path)["lookup"], codes=codes)["latents"]
        np.testing.assert_array_equal(found, memory.latents_of(torch.from_numpy(codes)).numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["car-racing-mdnrnn", "car-racing-symbols"])
def test_shipped_memories_for_a_thousand_steps(name: str, tmp_path: Path) -> None:
    export_onnx(name, tmp_path / "onnx")
    memory = load_memory(name, device="cpu")
    assert_same_outputs(run_both(memory, tmp_path / "onnx", steps=1000, rows=2))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["car-racing-vae", "car-racing-vqvae"])
def test_shipped_vision_models(name: str, tmp_path: Path) -> None:
    export_onnx(name, tmp_path / "onnx")
    assert_same_vision(load_vision(name, device="cpu"), open_sessions(tmp_path / "onnx"))


def test_the_command_describes_its_files(
    tmp_path: Path, make_tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, path = make_tiny(), tmp_path / "onnx"
    assert run(["export", "onnx", str(tiny.memory), "-o", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path}/model.json: description of all tensors\n" in said
    description = json.loads((path / "model.json").read_text())
    assert description["digest"] == tiny.memory_digest
    assert description["vision_digest"] == tiny.vision_digest
    assert (description["class"], description["task"]) == ("MDNRNN", "car-racing")
    assert (description["frame_skip"], description["num_options"]) == (4, [])
    assert {"onnx", "onnxruntime", "torch", "wmrl"} <= description["versions"].keys()
    (graph,) = description["graphs"].values()
    proto = onnx.load(path / "step.onnx")
    assert [each.version for each in proto.opset_import if not each.domain] == [graph["opset"]]
    session = open_sessions(path)["step"]
    for described, found in (
        (graph["inputs"], session.get_inputs()),
        (graph["outputs"], session.get_outputs()),
    ):
        assert [each["name"] for each in described] == [each.name for each in found]
        assert [each["shape"] for each in described] == [each.shape for each in found]
        assert {each.type for each in found} == {"tensor(float)"}
        assert {each["dtype"] for each in described} == {"float32"}
    differences = {each["name"]: each["difference"] for each in graph["outputs"]}
    assert 0 < max(differences.values()) == description["largest_difference"] < 1e-4
    listed = ", ".join(f"{name} {value:.2g}" for name, value in differences.items())
    assert f"{path}/step.onnx: largest difference from PyTorch: {listed}\n" in said


def test_files_are_the_same_each_time_and_say_nothing_of_this_machine(
    exported: Exported, tmp_path: Path
) -> None:
    files = {each.name: each.read_bytes() for each in exported("mdn-rnn").path.iterdir()}
    assert sorted(files) == ["model.json", "step.onnx"]
    path = tmp_path / "onnx"
    path.mkdir()
    for name in ("model.json", "step.onnx", "other.onnx"):  # an earlier export, which is replaced
        (path / name).write_bytes(b"old")
    export_onnx(make_memory("mdn-rnn"), path)
    assert files == {each.name: each.read_bytes() for each in path.iterdir()}
    for data in files.values():
        assert b"site-packages" not in data
        assert b".py" not in data
        assert str(Path.home()).encode() not in data


class Odd(VAE):
    """A VAE whose encoder can be replaced, for graphs that ONNX does not have."""

    way = "fine"

    def encode(self, inputs: Tensor) -> Tensor:
        mean = super().encode(inputs)
        if self.way == "operator":
            return mean + torch.linalg.eigvals(mean.T @ mean).real
        if self.way == "fixed batch":
            return mean[: len(mean)] * len(mean)
        return mean


def assert_nothing_is_written(model: Any, path: Path, message: str) -> None:
    with pytest.raises(OnnxExportError, match=message) as error:
        export_onnx(model, path / "onnx")
    assert "\n" not in str(error.value)
    assert not (path / "onnx").exists()
    assert list(path.iterdir()) == []


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("operator", "model: expected operators that ONNX has, got a Odd .*linalg_eig"),
        ("fixed batch", "'encode' can't be converted .*batch"),
    ],
)
def test_graphs_that_onnx_lacks_are_refused(way: str, message: str, tmp_path: Path) -> None:
    odd = Odd(VAEConfig(base_channels=2, latent_dim=4))
    odd.way = way
    assert_nothing_is_written(odd, tmp_path, message)


def test_an_export_of_other_weights_is_noticed(exported: Exported) -> None:
    other = MDNRNN(MDN_RNN, generator=seeded(5)).eval()
    file = (exported("mdn-rnn").path / "step.onnx").read_bytes()
    (graph,) = model_graphs(other)
    with pytest.raises(OnnxExportError, match="expected the same outputs as in PyTorch, got a"):
        compare(other, graph, file)


@pytest.mark.parametrize(
    ("dtype", "expected", "got", "most"),
    [
        (np.float32, [0, 1], [0, 1.00005], 0.00005),
        (np.float32, [0, 1], [0, 1.0002], None),
        (np.float32, [0, 100], [0, 100.005], 0.005),  # a relative difference of 0.00005
        (np.float32, [0, 1], [0, np.nan], None),
        (np.float32, [0, 1], [[0], [1]], None),
        (np.uint8, [0, 255], [1, 254], 1),
        (np.uint8, [0, 255], [2, 255], None),
        (np.int64, [7] * 200, [7] * 199 + [8], 0.005),
        (np.int64, [7] * 50, [7] * 49 + [8], None),
    ],
)
def test_differences(dtype: Any, expected: Any, got: Any, most: float | None) -> None:
    given = ("step", "reward", np.array(expected, dtype), np.array(got, dtype))
    if most is None:
        with pytest.raises(OnnxExportError, match="output 'reward' of the graph 'step'"):
            _difference(*given)
    else:
        assert _difference(*given) == pytest.approx(most, rel=0.01)


def test_nothing_is_written_if_outputs_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differ(*given: Any) -> Any:
        raise OnnxExportError("a difference")

    monkeypatch.setattr(onnx_export, "convert", lambda *given: onnx.ModelProto())
    monkeypatch.setattr(onnx_export, "compare", differ)
    assert_nothing_is_written(make_memory("mdn-rnn"), tmp_path, "a difference")


def test_a_copy_in_evaluation_mode_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = make_memory("mdn-rnn").train()
    seen: list[Any] = []

    def convert(module: Any, graph: Any) -> Any:
        seen.append(module)
        raise OnnxExportError("enough")

    monkeypatch.setattr(onnx_export, "convert", convert)
    assert_nothing_is_written(memory, tmp_path, "enough")
    assert seen[0] is not memory
    assert (seen[0].training, memory.training) == (False, True)


def test_the_task_of_a_vision_model_is_that_of_its_artifact(tmp_path: Path) -> None:
    assert onnx_export._task_of(load_vision("car-racing-vae")) == "car-racing"
    vae = make_vae()
    assert onnx_export._task_of(vae) is None
    vae.save(tmp_path / "vae", provenance={"task": "toy"})
    assert onnx_export._task_of(vae) == "toy"
    make_vqvae("fsq").save(tmp_path / "vae", provenance={"task": "other"})
    assert onnx_export._task_of(vae) is None


def test_sequential_decoding_is_refused(tmp_path: Path) -> None:
    memory = make_code_memory(replace(CODES, decoding="sequential"))
    with pytest.raises(ValueError, match="expected a memory with decoding 'parallel'"):
        export_onnx(memory, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_other_artifacts_are_refused(agent_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'agent'; export the vision model and the memory of"):
        export_onnx(agent_path, tmp_path / "onnx")
    with pytest.raises(ArtifactError, match="kind 'encoding'; choose another one"):
        export_onnx("planar-arm-vae", tmp_path / "onnx")
    with pytest.raises(ArtifactError, match="no artifact 'nothing'"):
        export_onnx("nothing", tmp_path / "onnx")
    with pytest.raises(ValueError, match="or the name or path of an artifact, got a Linear"):
        export_onnx(torch.nn.Linear(1, 1), tmp_path / "onnx")  # type: ignore[arg-type]
    assert not (tmp_path / "onnx").exists()


def test_what_is_there_stays(tmp_path: Path, make_tiny: Any) -> None:
    tiny = make_tiny()
    before = (tiny.vision / "model.safetensors").read_bytes()
    (tmp_path / "mine.onnx").write_text("mine")
    for path in (tiny.vision, tmp_path, tmp_path / "mine.onnx"):
        with pytest.raises(ValueError, match="path: expected a new or empty folder, or an earlier"):
            export_onnx(tiny.vision, path)
    assert (tiny.vision / "model.safetensors").read_bytes() == before
    assert (tmp_path / "mine.onnx").read_text() == "mine"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_packages_are_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'install it with pip install "wmrl\[onnx\]"'):
        export_onnx("car-racing-vae", tmp_path / "onnx")
