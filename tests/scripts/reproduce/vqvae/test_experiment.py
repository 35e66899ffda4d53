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
    prior_recipe,
)


def test_the_baseline_is_the_earlier_experiment() -> None:
    options = VARIANTS[BASELINE].options
    assert options == {"quantizer": "gradient", "relu_output": True}
    assert not VARIANTS[BASELINE].warmup
    config = ExperimentConfig()
    assert (config.codebook_size, config.code_dim, config.batch_size) == (512, 64, 256)
    model, training = prior_recipe("lstm", config, images=4000, num_tokens=49, num_classes=10)
    assert model.one_hot
    assert (model.sequence_model, model.dropout) == ("lstm", 0.0)
    assert (model.hidden_dim, model.num_layers) == (256, 2)
    assert training.steps == 20 * (4000 // 256)
    assert training.learning_rate == training.final_learning_rate == 1e-3


def test_only_one_prior_is_class_conditional() -> None:
    config = ExperimentConfig()
    classes = {
        name: prior_recipe(name, config, images=500, num_tokens=49, num_classes=10)[0].num_classes
        for name in ("lstm", "transformer", "transformer-classes")
    }
    assert classes == {"lstm": 0, "transformer": 0, "transformer-classes": 10}


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="epochs: expected at least 1, got 0"):
        ExperimentConfig(epochs=0)
    with pytest.raises(ValueError, match=r"warmup: expected below 1, got 1\.0"):
        ExperimentConfig(warmup=1.0)


@pytest.mark.slow
def test_a_warmup_gives_the_codebook_room(tmp_path: Path) -> None:
    digits, held_out = mnist_5000().split(1000, seed=0)
    config = ExperimentConfig(epochs=40)
    experiment = Experiment(digits, held_out, tmp_path, config, seed=0, progress=False)
    metrics = {name: experiment.vision_metrics(name) for name in (BASELINE, "ema", OURS)}
    assert metrics[BASELINE]["utilization"] < 0.5
    assert metrics[OURS]["utilization"] >= 0.95
    assert metrics[OURS]["codebook_rank"] >= 2 * metrics["ema"]["codebook_rank"]
    assert metrics[OURS]["squared_error"] < metrics[BASELINE]["squared_error"]


@pytest.mark.slow
def test_a_transformer_predicts_codes_better(tmp_path: Path) -> None:
    digits, held_out = mnist_5000().split(1000, seed=0)
    config = ExperimentConfig(epochs=10)
    experiment = Experiment(digits, held_out, tmp_path, config, seed=0, progress=False)
    nats = {name: metrics["nats"] for name, metrics in experiment.prior_metrics(OURS).items()}
    assert nats["transformer"] <= 0.9 * nats["lstm"]
    assert nats["transformer"] < nats["bigram"] < nats["unigram"]
    assert nats["transformer-classes"] < nats["transformer"]
