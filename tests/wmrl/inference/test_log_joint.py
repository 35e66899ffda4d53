import pytest
import torch

from wmrl.inference.log_joint import LogJoint, Term


def test_terms_get_what_they_name() -> None:
    data = torch.tensor([1.0, 2.0, 3.0])
    joint = LogJoint(
        {
            "prior": lambda a: -a,
            "both": Term(lambda a, b, y: (a[:, None] * y).sum(1) + b.sum(1), {"y": data}),
        }
    )
    assert joint.variables == ("a", "b")
    assert joint.terms["prior"].variables == ("a",)
    assert joint.terms["both"].variables == ("a", "b")
    values = {"a": torch.tensor([1.0, 2.0]), "b": torch.ones(2, 2)}
    found = joint.evaluate(values)
    assert found["prior"].tolist() == [-1.0, -2.0]
    assert found["both"].tolist() == [8.0, 14.0]


def test_minibatches_are_scaled_to_all_observations() -> None:
    data = torch.arange(6.0)
    term = Term(lambda a, y: (a[:, None] * y).sum(1), {"y": data}, minibatched=("y",))
    joint = LogJoint({"data": term, "prior": lambda a: a})
    assert joint.num_observations == 6
    values = {"a": torch.tensor([2.0])}
    some = joint.evaluate(values, indices=torch.tensor([1, 4]))
    assert some["data"].item() == 3 * 2 * (1 + 4)
    assert some["prior"].item() == 2.0
    halves = [joint.evaluate(values, indices=rows)["data"] for rows in torch.arange(6).split(3)]
    assert torch.stack(halves).mean() == joint.evaluate(values)["data"]


def test_the_mean_over_minibatches_is_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(20, generator=generator)
    term = Term(lambda a, y: (a[:, None] - y).square().sum(1), {"y": data}, minibatched=("y",))
    joint, values = LogJoint({"data": term}), {"a": torch.tensor([0.3])}
    rows = torch.randint(20, (4000, 5), generator=generator)
    found = torch.stack([joint.evaluate(values, indices=some)["data"] for some in rows])
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - joint.evaluate(values)["data"]) < 3 * error


def test_defaults_are_the_function_s_own() -> None:
    """As of terms that are made in a loop."""
    joint = LogJoint({f"t{k}": lambda a, k=k: k * a for k in (2, 3)})
    assert joint.variables == ("a",)
    found = joint.evaluate({"a": torch.tensor([5.0])})
    assert [value.item() for value in found.values()] == [10.0, 15.0]
    with pytest.raises(ValueError, match="data: expected names of the function's parameters"):
        Term(lambda a, y=0.0: a + y, {"y": torch.zeros(3)})


def test_functions_that_can_not_be_asked_for_their_arguments() -> None:
    term = Term(torch.lgamma, names=("x",))
    assert term.variables == ("x",)
    assert LogJoint({"t": term}).evaluate({"x": torch.tensor([4.0])})["t"].exp() == 6.0


def test_elementwise_values_have_the_shape_of_a_variable() -> None:
    term = Term(lambda a, b: b - a[:, None], elementwise=True)
    values = {"a": torch.zeros(5), "b": torch.zeros(5, 3)}
    assert LogJoint({"t": term}).evaluate(values)["t"].shape == (5, 3)
    whole = LogJoint({"t": Term(lambda a, b: b - a[:, None])})
    with pytest.raises(
        ValueError, match=r"term 't' \(variables: a, b\): expected shape \(5,\) .* \(5, 3\)"
    ):
        whole.evaluate(values)


def test_clear_errors() -> None:
    y = torch.zeros(3)
    with pytest.raises(ValueError, match="terms: expected at least one term, got none"):
        LogJoint({})
    with pytest.raises(
        ValueError, match=r"data: expected names of the function's parameters \('a',\), got"
    ):
        Term(lambda a: a, {"y": y})
    with pytest.raises(
        ValueError, match=r"minibatched: expected keys of data \['y'\], got \('x',\)"
    ):
        Term(lambda a, y: a, {"y": y}, minibatched=("x",))
    with pytest.raises(ValueError, match="minibatched: expected data of equal lengths"):
        Term(lambda a, x, y: a, {"x": torch.zeros(2), "y": y}, minibatched=("x", "y"))
    with pytest.raises(
        ValueError,
        match="minibatched: expected data with an axis of observations, got a scalar for 'c'",
    ):
        Term(lambda a, c: a, {"c": torch.tensor(3.0)}, minibatched=("c",))
    two = {
        name: Term(lambda a, y: a, {"y": torch.zeros(length)}, minibatched=("y",))
        for name, length in (("first", 3), ("second", 4))
    }
    with pytest.raises(ValueError, match="terms: expected the same number of observations"):
        LogJoint(two)
    broken = LogJoint({"bad": lambda a: a @ torch.zeros(7)})
    with pytest.raises(ValueError, match=r"term 'bad' \(variables: a\): "):
        broken.evaluate({"a": torch.zeros(5, 3)})
    with pytest.raises(ValueError, match="got float"):
        LogJoint({"number": lambda a: 1.0}).evaluate({"a": torch.zeros(5)})
