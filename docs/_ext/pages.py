"""Sphinx extension that writes the generated pages, and links what pages and docstrings name."""

import shutil
from pathlib import Path
from typing import Any

import api_pages
import command_pages
import docstrings
import environment_pages
import result_pages
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

_REFERENCE = api_pages.Reference()


def setup(app: Sphinx) -> dict[str, Any]:
    """Connects the extension to the events of Sphinx."""
    app.connect("builder-inited", _write_pages)
    app.connect("source-read", _adapt_source)
    app.connect("autodoc-process-docstring", docstrings.convert)
    app.connect("autodoc-process-signature", _shorten_defaults)
    app.connect("missing-reference", _resolve)
    app.connect("doctree-resolved", _use_dashes)
    app.connect("doctree-resolved", _link_names)
    app.connect("build-finished", _copy_results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Sphinx) -> None:
    source = Path(app.srcdir)
    for page in _REFERENCE.pages:
        _write(source / "reference" / "api" / f"{page}.rst", _REFERENCE.text(page))
    _write(source / "_generated" / "commands.md", command_pages.text())
    for name in environment_pages.environments():
        file = f"{name.removeprefix('vsg/')}.md"
        _write(source / "_generated" / "environments" / file, environment_pages.text(name))
    for name, table in result_pages.tables().items():
        table = result_pages.with_unbroken_cells(table)
        _write(source / "_generated" / "results" / f"{name}.md", table)


def _write(path: Path, text: str) -> None:
    """Writes a page, unless it is unchanged, since Sphinx reads all changed pages again."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _shorten_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Shows a default value that each instance creates anew as ``...``."""
    return (signature.replace("<factory>", "..."), returns) if signature else None


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Finds the target of a reference that names the module in which something is defined."""
    if node.get("refdomain") != "py":
        return None
    package, cls = node.get("py:module"), node.get("py:class")
    cls = None if cls is None else f"{package}.{cls}"
    path = _REFERENCE.find(node["reftarget"], package=package, cls=cls)
    if path is None:
        return None
    entry = env.domains.python_domain.objects.get(path)
    if entry is None:  # it exists, but the reference has no entry for it
        return content
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, path)


def _use_dashes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replaces the two hyphens between a parameter and its description."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def _adapt_source(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = result_pages.with_unbroken_cells(result_pages.with_site_links(source[0]))


def _copy_results(app: Sphinx, error: Exception | None) -> None:
    """Copies the results beside the pages, so that their videos and web pages work."""
    if error is None:
        shutil.copytree(result_pages.FOLDER, Path(app.outdir) / "results", dirs_exist_ok=True)


def _link_names(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Links the paths of public names that stand as code in a page: ``wmrl.agents.evaluate``."""
    objects = app.env.domains.python_domain.objects
    for literal in list(doctree.findall(nodes.literal)):
        entry = objects.get(literal.astext())
        if entry is not None and not isinstance(literal.parent, nodes.reference):
            link = make_refnode(app.builder, docname, entry.docname, entry.node_id, literal.copy())
            link[0] += nodes.Text(literal.astext())
            literal.parent.replace(literal, link)
