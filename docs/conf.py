"""Configuration of the documentation, which ``make docs`` builds."""

import sys
from pathlib import Path

import wmrl

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "wmrl"
author = "The wmrl authors"
release = wmrl.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "pages"]
exclude_patterns = ["_build", "_ext", "_generated"]
html_theme = "furo"
html_title = f"wmrl {release}"
html_static_path = ["_static"]
html_css_files = ["wmrl.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
myst_url_schemes = {"http": None, "https": None, "results": "../results/{{path}}"}
nb_execution_mode = "cache"  # in _build; a notebook runs again when its code changes
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds for each cell
smartquotes = False  # options begin with two hyphens

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# All other references are checked. Those to other packages have no target here, because the pages
# are built without a network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(abc|collections|pathlib|typing)\..*"),
    ("py:.*", r"(gymnasium|numpy|ribs|stable_baselines3|torch|vizdoom)\..*"),
    ("py:class", "MinariDataset|Tensor"),  # imported for type checkers only
    ("py:.*", "[A-Z]"),  # type variables
]
