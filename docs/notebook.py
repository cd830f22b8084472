"""The directive ``notebook``: a notebook, executed when the guide is built, as a part of a page."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
PICTURE = re.compile(r"^# picture: (.+\n(?:#   .+\n)*)", re.MULTILINE)
HANGS = 300  # seconds for one cell; none takes ten


class NotebookDirective(SphinxDirective):
    """``{notebook} NAME``: the cells of ``notebooks/NAME.ipynb`` below its title.

    A picture's alternative text is the comment ``# picture: ...`` of its cell, or the paragraph
    before it. With the option ``notebooks`` of the build, only the notebooks named there run.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of every cell."""
        import nbformat

        name = self.arguments[0]
        path = FOLDER / f"{name}.ipynb"
        self.env.note_dependency(str(path))
        only = self.config.notebooks
        notebook = nbformat.read(path, as_version=4)
        if not only or name in only:
            notebook = _executed(notebook)
        found: list[nodes.Node] = []
        prose = ""
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                text = cell.source
                if number == 0:  # its title is that of the page
                    text = text.partition("\n")[2]
                prose = text
                found += self._markdown(text)
                continue
            found += self._code(cell.source)
            alt = PICTURE.search(cell.source)
            for output in cell.get("outputs", []):
                found += self._output(output, _words(alt[1] if alt else prose))
        return found

    def _markdown(self, text: str) -> list[nodes.Node]:
        text = re.sub(r"^#+ (.+)$", r"**\1**", text, flags=re.MULTILINE)  # headings end a directive
        container = nodes.container()
        lines = StringList(text.splitlines(), source=self.arguments[0])
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children

    def _code(self, source: str) -> list[nodes.Node]:
        shown = PICTURE.sub("", source)
        return [nodes.literal_block(shown, shown, language="python")]

    def _output(self, output: Any, alt: str) -> list[nodes.Node]:
        data = output.get("data", {})
        if "image/png" in data:
            return [nodes.image(uri=self._picture(data["image/png"]), alt=alt, classes=["figure"])]
        if "text/markdown" in data:
            return self._markdown(data["text/markdown"])
        text = output.get("text") or data.get("text/plain", "")
        text = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()
        return [nodes.literal_block(text, text, language="text", classes=["output"])] * bool(text)

    def _picture(self, data: str) -> str:
        """The address of a picture that is written below the folder of the trees."""
        content = base64.b64decode(data)
        folder = Path(self.env.doctreedir) / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.blake2b(content, digest_size=8).hexdigest()}.png"
        path.write_bytes(content)
        return os.path.relpath(path, Path(self.env.srcdir) / Path(self.env.docname).parent)


def _words(text: str) -> str:
    """The text of a comment, or the last paragraph of prose, as one line."""
    return " ".join(re.sub(r"[*`#|]", "", text.strip().rpartition("\n\n")[2]).split())


def _executed(notebook: Any) -> Any:
    """The notebook after a run on the code of this checkout, in a kernel of its own."""
    import tempfile

    import nbclient

    logging.getLogger("traitlets").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as where:
        environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
        client = nbclient.NotebookClient(
            notebook,
            timeout=HANGS,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=40"],  # it warns of its port on loopback
            resources={"metadata": {"path": where}},
        )
        return client.execute(env=environment)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("notebook", NotebookDirective)
    app.add_config_value("notebooks", [], "env", [list])
    return {"parallel_read_safe": True}
