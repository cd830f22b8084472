"""How are these pages built?  By Sphinx from the Markdown beside this file; nothing is fetched.

``make docs`` writes them to ``build/docs``. The theme ships its own style and scripts and uses the
fonts of the reader's system, so that the pages work without a network (a test holds that).
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import hashring
from hashring import analysis

project = "hashring"
author = "The hashring authors"
project_copyright = author
release = version = hashring.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3  # a link may point at any heading that a page's own contents show

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"hashring {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False


class _Written(str):
    """An annotation as the source has it: a signature shows it without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


# two rooms may have a word for two things: each means its own
_TWICE = "|".join(sorted(set(hashring.__all__) & set(analysis.__all__)))


def _written(annotation: object, module: str) -> object:
    if not isinstance(annotation, str):
        return annotation
    if module.startswith(analysis.__name__):
        annotation = re.sub(rf"\b({_TWICE})\b", rf"{analysis.__name__}.\1", annotation)
    return _Written(annotation)


def _as_written(
    _app: object, _what: str, _name: str, obj: Any, _options: object, given: str | None, _to: object
) -> tuple[str, str | None] | None:
    """The signature with the words of the source, ``Key | None``, not with what they stand for."""
    if given is None:
        return None
    called = inspect.signature(obj.__init__ if inspect.isclass(obj) else obj)
    parameters = [
        each.replace(annotation=_written(each.annotation, obj.__module__))
        for each in called.parameters.values()
        if each.name not in ("self", "cls")
    ]
    shown = str(called.replace(parameters=parameters, return_annotation=called.empty))
    answer = _written(called.return_annotation, obj.__module__)
    return shown, None if inspect.isclass(obj) or answer is called.empty else str(answer)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _as_written)
