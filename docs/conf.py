"""Builds these pages with Sphinx from the Markdown beside this file; nothing is fetched.

``make docs`` writes them to ``build/docs``. The theme ships its own style and scripts and uses the
fonts of the reader's system, so that the pages work without a network (a test checks that).
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # for the extensions beside this file

import reference  # found by the line before

import hashring

project = "hashring"
author = "The hashring authors"
project_copyright = author
release = version = hashring.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "notebook"]
myst_heading_anchors = 3  # a link may point at any heading that a page's own contents show

autodoc_member_order = "bysource"
autodoc_mock_imports = ["ray"]  # it is large, and only its names are needed here
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


FRONT_ROOMS = {"hashring.balancer", "hashring.hosts", "hashring.ring"}  # shown by `hashring`


@cache
def _rooms(module: str) -> dict[str, str]:
    """The public address of each name of the package that a module's annotations may use."""
    own = ".".join(module.split(".")[:2])
    found = dict.fromkeys(getattr(sys.modules.get(own), "__all__", ()), own)
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hashring."):
            room = ".".join((node.module or "").split(".")[:2])
            public = getattr(sys.modules.get(room), "__all__", ())
            found |= {each.name: room for each in node.names if each.name in public}
    for name in set(found) & set(hashring.__all__):
        if found[name] in FRONT_ROOMS:
            found[name] = "hashring"
    return {name: f"{room}.{name}" for name, room in found.items() if module != "hashring"}


def _written(annotation: object, module: str) -> object:
    """The annotation; two rooms may have one name, so each is written with its room."""
    if not isinstance(annotation, str):
        return annotation
    rooms = _rooms(module)
    return _Written(re.sub(r"(?<![\w.])\w+", lambda m: rooms.get(m[0], m[0]), annotation))


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


def _sections(
    _app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Turns a section of a docstring (Parameters, Returns, Raises) into a list."""
    given, lines[:] = lines[:], []
    inside = False
    for line, following in zip_longest(given, given[1:], fillvalue=""):
        if re.fullmatch(r"\w+", line) and re.fullmatch(r"-{3,}", following):
            lines += [f"**{line}**", ""]
            inside = True
        elif inside and not line:
            inside = False
            lines.append("")
        elif inside and line.startswith(" "):
            lines.append(f"  {line.strip()}")
        elif inside and not line.startswith("---"):
            name, colon, words = line.partition(": ")
            lines.append(f"- ``{name}``: {words}" if colon else f"- {line}")
        elif not inside:
            lines.append(line)


def _with_reference(_app: object, _name: str, source: list[str]) -> None:
    source[0] = reference.expanded(source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _with_reference)
    app.connect("autodoc-process-docstring", _sections)
    app.connect("autodoc-process-signature", _as_written)
