"""The VQ-VAE experiment: what is compared, and that its claims hold on the digits."""

from pathlib import Path

import pytest

from wmrl.data.images import mnist_5000
from wmrl.scripts.reproduce.vqvae.experiment import (
    BASELINE,
    OURS,
    VARIANTS,
    Experiment,
    ExperimentConfig,
)
from wmrl.scripts.reproduce.vqvae.experiment import prior_recipe as recipe


def test_the_baseline_is_the_earlier_experiment() -> None:
    options = VARIANTS[BASELINE].options
    assert options == {"quantiser": "gradient", "relu_output": True}
    assert not VARIANTS[BASELINE].warmup
    config = ExperimentConfig()
    assert (config.codes, config.code_size, config.batch_size) == (512, 64, 256)
    model, training = recipe("lstm", config, images=4000, tokens=49, classes=10)
    assert model.one_hot
    assert (model.core, model.size, model.layers, model.dropout) == ("lstm", 256, 2, 0.0)
    assert training.steps == 20 * (4000 // 256)
    assert training.learning_rate == training.final_learning_rate == 1e-3


def test_only_one_prior_is_told_the_class() -> None:
    config = ExperimentConfig()
    classes = {
        name: recipe(name, config, images=500, tokens=49, classes=10)[0].classes
        for name in ("lstm", "transformer", "transformer-classes")
    }
    assert classes == {"lstm": 0, "transformer": 0, "transformer-classes": 10}


def test_amounts_are_checked() -> None:
    with pytest.raises(ValueError, match="epochs: expected at least 1, got 0"):
        ExperimentConfig(epochs=0)
    with pytest.raises(ValueError, match=r"warmup: expected in \(0, 1\), got 1.0"):
        ExperimentConfig(warmup=1.0)


@pytest.mark.slow
def test_a_warmup_gives_the_codebook_room(tmp_path: Path) -> None:
    digits, held_out = mnist_5000().split(1000, seed=0)
    config = ExperimentConfig(epochs=40)
    experiment = Experiment(digits, held_out, tmp_path, config, seed=0, progress=False)
    figures = {name: experiment.vision_figures(name) for name in (BASELINE, "ema", OURS)}
    assert figures[BASELINE]["utilisation"] < 0.5
    assert figures[OURS]["utilisation"] >= 0.95
    assert figures[OURS]["codebook_rank"] >= 2 * figures["ema"]["codebook_rank"]
    assert figures[OURS]["squared_error"] < figures[BASELINE]["squared_error"]


@pytest.mark.slow
def test_a_transformer_foretells_codes_better(tmp_path: Path) -> None:
    digits, held_out = mnist_5000().split(1000, seed=0)
    config = ExperimentConfig(epochs=10)
    experiment = Experiment(digits, held_out, tmp_path, config, seed=0, progress=False)
    nats = {name: figures["nats"] for name, figures in experiment.prior_figures(OURS).items()}
    assert nats["transformer"] <= 0.9 * nats["lstm"]
    assert nats["transformer"] < nats["bigram"] < nats["unigram"]
    assert nats["transformer-classes"] < nats["transformer"]
