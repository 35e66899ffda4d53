"""Examples in docstrings: they run as they stand and import as users do."""

import ast
import doctest
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PROMPT = re.compile(r"^\s*>>> ", re.MULTILINE)
ROOMS_OF_ONE_MODULE = {"wmrl.dream"}  # which are their own public interface


def source_files() -> Iterator[tuple[str, Path]]:
    """Import name and file of every module of the installed package."""
    for package in ("wmrl", "wmrl.envs", "wmrl.agents", "wmrl.scripts"):
        folder = Path(str(import_module(package).__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


SOURCES = {name: path.read_text() for name, path in source_files()}
MODULES = [name for name, text in SOURCES.items() if PROMPT.search(text)]


def exported_names(text: str) -> set[str]:
    """Names in the ``__all__`` of a module."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


EXPORTS = {name: exported_names(text) for name, text in SOURCES.items() if "__all__" in text}
PUBLIC_NAMES = set().union(*EXPORTS.values())


def documented_examples(text: str) -> list[doctest.DocTest]:
    """One test for each docstring of a module's source that has examples."""
    parser = doctest.DocTestParser()
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            name = getattr(node, "name", "")
            test = parser.get_doctest(ast.get_docstring(node) or "", {}, name, None, 0)
            if test.examples:
                found.append(test)
    return found


def found_examples(module: ModuleType) -> list[doctest.DocTest]:
    """The tests that doctest finds in a module.

    Examples of modules and exported objects start without any name, as in a new Python prompt;
    those of internal objects see the names of their module.
    """
    found = []
    for test in doctest.DocTestFinder().find(module):
        test.name = test.name.removeprefix(module.__name__).removeprefix(".")
        if test.name.split(".")[0] in {"", *PUBLIC_NAMES}:
            test.globs = {"__name__": "__main__"}
        if test.examples:
            found.append(test)
    return found


def deep_imports(test: doctest.DocTest) -> list[str]:
    """Modules of wmrl from which an example imports, instead of from a package that exports."""
    names: list[str] = []
    for node in ast.walk(ast.parse("".join(example.source for example in test.examples))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [
        name
        for name in names
        if name.split(".")[0] == "wmrl" and name not in {*EXPORTS, *ROOMS_OF_ONE_MODULE}
    ]


def failures(test: doctest.DocTest) -> str:
    """Runs a test and returns the report of its failures."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if "onnx" in name:
        request.getfixturevalue("one_registry")
    monkeypatch.chdir(tmp_path)  # where examples may write
    monkeypatch.setenv("MINARI_DATASETS_PATH", "datasets")
    tests = found_examples(import_module(name))
    documented = sorted(test.name for test in documented_examples(SOURCES[name]))
    assert sorted(test.name.rpartition(".")[2] for test in tests) == documented
    for test in tests:
        assert not failures(test)


@pytest.mark.parametrize("name", MODULES)
def test_examples_import_from_packages(name: str) -> None:
    for test in documented_examples(SOURCES[name]):
        assert not deep_imports(test), f"{name}: {test.name}"


def test_there_are_examples() -> None:
    assert sum(len(documented_examples(SOURCES[name])) for name in MODULES) >= 40


def example(text: str) -> doctest.DocTest:
    return doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)


def test_deep_imports_are_found() -> None:
    lines = ">>> from wmrl.vision.vae import VAE\n>>> from wmrl.vision import VAEConfig\n"
    assert deep_imports(example(lines)) == ["wmrl.vision.vae"]


def test_failures_are_found() -> None:
    assert "Expected:" in failures(example(">>> 1 + 1\n3\n"))
    warns = ">>> import warnings\n>>> warnings.warn('old', DeprecationWarning)\n"
    assert "DeprecationWarning" in failures(example(warns))
