"""Conversion of docstrings in Google's style to reStructuredText."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

_CONFIG = Config()


class _Docstring(GoogleDocstring):
    """Docstring without types, which are in the annotations.

    Napoleon would take the words before a colon for a type, in the first line of a property and in
    the section "Returns". The types of attributes stand behind their names.
    """

    def _consume_returns_section(self, preprocess_types: bool = False) -> list[Any]:
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if lines else []

    def _parse_attributes_section(self, section: str) -> list[str]:
        lines: list[str] = []
        for name, _, description in self._consume_fields():
            annotation = self._lookup_annotation(name)
            lines.append(f".. attribute:: {name}")
            lines += [f"   :type: {annotation}"] if annotation else []
            lines += ["", *self._indent(self._format_field("", "", description), 3), ""]
        return lines

    def _consume_inline_attribute(self) -> tuple[str, list[str]]:
        return "", self._dedent(self._consume_to_end())


def convert(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Converts the lines of a docstring in place (an event of autodoc)."""
    docstring = _Docstring(with_rubrics(lines), _CONFIG, app, what, name, obj, options)
    lines[:] = docstring.lines()


def with_rubrics(lines: list[str]) -> list[str]:
    """Replaces the headings ``## …`` in docstrings of environments by rubrics."""
    found: list[str] = []
    for line in lines:
        heading = re.match(r"## (.*)", line)
        found += [f".. rubric:: {heading[1]}", ""] if heading else [line]
    return found
