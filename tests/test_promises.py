"""Each promise of the README, and of the page on failures, has its tests."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = {
    "README.md": "What is promised",
    "docs/guides/when-things-go-wrong.md": "Failures, and what they leave",
}

LOOP = "tests/agents/pipeline/test_loop.py"
TRAINER = "tests/wmrl/training/test_trainer.py"
PPO = "tests/agents/ppo/test_learner.py"
ARTIFACT = "tests/wmrl/storage/test_artifact.py"
FORGED = "tests/agents/test_forged_artifacts.py"
COLLECTION = "tests/agents/rollouts/test_collection.py"
INTERRUPTION = "tests/scripts/test_interruption.py"
FAULTS = "tests/faults/test_faults.py::test_short_form"
STORE = "tests/wmrl/data/test_store_faults.py"

# The beginnings of sentences. A sentence without an entry, or an entry without a sentence, fails.
TESTS = {
    "README.md": {
        "Runs resume": (f"{TRAINER}::test_an_interrupted_run_ends_in_the_same_bits",),
        "Killed at any moment, or stopped by": (f"{LOOP}::test_killed_a_dozen_times", FAULTS),
        "The same command resumes it": (
            f"{PPO}::test_killed_process_resumes",
            f"{PPO}::test_a_finished_run_can_be_extended",
            f"{COLLECTION}::test_more_goes_on_from_less_and_enough_is_left_alone",
        ),
        "Without a time limit, the result": (f"{LOOP}::test_killed_and_resumed",),
        "The same bits": (f"{PPO}::test_same_seed_same_bits_whatever_the_global_state",),
        "On one machine, with the same": (
            f"{COLLECTION}::test_same_hash_for_any_number_of_workers_and_slots",
        ),
        "No pickle": (f"{ARTIFACT}::test_pickle_as_weights_is_refused_and_not_run",),
        "Artifacts are JSON and safetensors": (f"{ARTIFACT}::test_every_flipped_bit_is_noticed",),
        "Opening one runs no code": (
            f"{FORGED}::test_forged_counts_are_refused_quickly",
            f"{ARTIFACT}::test_a_forged_size_costs_nothing",
        ),
        "Nothing is silent": (FAULTS,),
        "What is damaged, not finite or": (
            f"{STORE}::test_each_fault_of_each_file_is_noticed_and_mended",
            f"{TRAINER}::test_a_loss_that_is_not_finite_names_its_term_and_step",
        ),
        "Scores are evaluations": ("tests/agents/test_seeds.py::test_evaluation_seeds",),
        "The best of training is never": (
            "tests/agents/test_seeds.py::test_training_never_meets_evaluation",
        ),
    },
    "docs/guides/when-things-go-wrong.md": {
        "A kill or a power failure loses": (
            FAULTS,
            f"{STORE}::test_a_kill_at_any_file_event_loses_no_whole_episode",
        ),
        "The same command resumes the run": (f"{LOOP}::test_killed_and_resumed",),
        "Ctrl-C ends a command": (
            f"{INTERRUPTION}::test_every_command_ends_at_ctrl_c",
            f"{INTERRUPTION}::test_nothing_outlives_a_command_that_is_killed",
        ),
        "The training of a model keeps": (
            f"{TRAINER}::test_an_interrupted_run_keeps_its_last_step",
        ),
        "PPO in dreams loses at most": (f"{PPO}::test_killed_process_resumes",),
        "A full or read-only disk": (FAULTS,),
        "Once there is space": (FAULTS,),
        "A damaged file, be it": (FAULTS, f"{ARTIFACT}::test_truncated"),
        "The file is made again": (f"{STORE}::test_each_fault_of_each_file_is_noticed_and_mended",),
        "Nothing is trained on wrong data": (f"{STORE}::test_training_meets_no_wrong_frames",),
        "Logs that only people read": (FAULTS,),
        "An artifact from a stranger": (
            f"{ARTIFACT}::test_pickle_as_weights_is_refused_and_not_run",
        ),
        "It is refused if": (
            f"{FORGED}::test_refused",
            f"{ARTIFACT}::test_weights_that_are_not_finite_are_refused",
        ),
        "A number that is not finite": (
            "tests/envs/test_borders.py::test_no_action_ends_the_process_or_leaves_nan",
            f"{TRAINER}::test_a_loss_that_is_not_finite_stops_it",
        ),
        "It reaches no file": (f"{COLLECTION}::test_rewards_that_are_not_finite_are_not_stored",),
    },
}


def sentences(page: str) -> list[str]:
    """The sentences in the list of a page's section."""
    text = (ROOT / page).read_text()
    section = text.split(f"## {SECTIONS[page]}\n")[1].split("\n## ")[0]
    bullets = re.findall(r"^- (.*?)(?=^- |^\S|\Z)", section, re.MULTILINE | re.DOTALL)
    plain = [" ".join(bullet.replace("**", "").split()) for bullet in bullets]
    return [part for bullet in plain for part in re.split(r"(?<=\.) (?=[A-Z])", bullet)]


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", SECTIONS)
def test_each_sentence_has_its_tests(page: str) -> None:
    found = sentences(page)
    assert len(found) > 10
    for sentence in found:
        fitting = [begin for begin in TESTS[page] if sentence.startswith(begin)]
        assert len(fitting) == 1, sentence
    for begin in TESTS[page]:
        assert any(sentence.startswith(begin) for sentence in found), begin


@pytest.mark.parametrize("page", SECTIONS)
def test_the_tests_exist(page: str) -> None:
    for begin, tests in TESTS[page].items():
        assert tests, begin
        for test in tests:
            path, _, name = test.partition("::")
            assert name in functions(path), test
