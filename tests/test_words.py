"""The words of everything that a person reads: plain technical English, by a list of patterns."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Rule(NamedTuple):
    """A pattern that no text may have, and what to write in its place."""

    pattern: re.Pattern[str]
    instead: str


def rule(pattern: str, instead: str) -> Rule:
    """A space of the pattern matches any white space, so that a phrase may span two lines."""
    return Rule(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), instead)


# ", for" joins two clauses where a verb follows the subject, and names a purpose elsewhere
SUBJECT = (
    r"(?!(?:what|how|that|which|who|whom|whose|where|when|whether|to|by|in|as|if|and|or)\b)[\w'-]+"
)
VERB = (
    r"(?:is|are|was|were|has|have|had|would|can|cannot|could|may|might|must|will|does|do|did|"
    r"needs?|takes|comes|goes|makes|moves|stands|keeps|gives|places|differs|sets|holds|refuses|"
    r"counts|knows|belongs|begins|loses|leaves|gets|hash|hashes)\b"
)
RULES = (
    rule(r"[,;] for (?:it|they|he|she|we|there)\b(?= \w)", "'because', or a sentence of its own"),
    rule(rf"[,;] for {SUBJECT} (?:{SUBJECT} ){{0,3}}?{VERB}", "'because', or a sentence"),
    rule(
        r"\b(?:nobody|somebody|anybody|everybody|whoever|whomever)\b",
        "the noun: no host, a client, the caller, another process",
    ),
    rule(r"\bwho is in\b", "'the members'"),
    rule(r"\b(?:tells|told)\b", "'reports', 'logs', 'returns', 'distinguishes', or the action"),
    rule(r"\b(?:says|said|say so)\b", "'is', 'states', 'returns', 'reports', 'shows'"),
    rule(r"\bbeliev(?:e|es|ed|ing)\b", "'accept', 'trust'"),
    rule(r"\binsist(?:s|ed|ing)?\b", "the action: 'repeats', 'keeps', 'retries'"),
    rule(r"\bhears?\b", "'receives', 'is called with', 'is notified'"),
    rule(
        r"(?<!there\s)\b(?:is|are|was|were) no (?!longer|more\b|less\b|fewer|other|"
        r"(?:\w+er)\b|different|need\b|limit\b)[a-z]",
        "'is not a ...'; 'invalid'",
    ),
    Rule(
        re.compile(r"(?<!there\s)\b(?:is|are|was|were|of)\s+none\b"),
        "'is not one', 'empty', 'missing'",
    ),
    rule(r"\banew\b", "'again'"),
    rule(r"\balike\b", "'the same way', 'equally', 'similar'"),
    rule(r"\ball the while\b", "'meanwhile', 'throughout'"),
    rule(
        r"\b(?:several|many|both|all|them|threads|hosts|keys|changes|requests|questions|two|three|"
        r"serves) (?:\w+ )?at once\b",
        "'at the same time', 'concurrently', 'in one call'",
    ),
    rule(r"\bheirs?\b", "'successor'"),
    rule(r"\bstayers?\b", "'unchanged host'"),
    rule(r"\bnewcomers?\b", "'added host', 'new host', 'new client'"),
    rule(r"\bcollateral\b", "'unnecessary moves'"),
    rule(r"\bwhat (?:is|are) over\b", "'excess requests'"),
    rule(r"\bwhat (?:it|he|each|a host) holds\b", "'the value', or the noun"),
    rule(r"\b(?:after|in|for|had|with|of|by) so many\b", "the number, or N"),
    rule(r"\b(?:than this(?! \w)|do so while|but no more)\b", "a whole sentence with its subject"),
    rule(r"\bwish(?:es)?\b", "'target', 'want'"),
    rule(r"\bfor want of\b", "'because ... is missing'"),
    rule(r"\bby and by\b", "'gradually'"),
    rule(r"\bword is taken\b", "'trusted'"),
)


class Text(NamedTuple):
    """A piece of prose and the line it begins at."""

    line: int
    words: str


CODE = re.compile(r"(`{1,2})(?=\S)[^`]+\1")
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.MULTILINE | re.DOTALL)


def plain(text: str) -> str:
    """The text without code between backquotes; its lines keep their numbers."""
    return CODE.sub(lambda found: "code" + "\n" * found[0].count("\n"), text)


def without_examples(text: str) -> str:
    """A docstring whose examples keep nothing but their comments."""
    lines, example = [], False
    for line in text.split("\n"):
        stripped = line.strip()
        example = bool(stripped) and (example or stripped.startswith(">>>"))
        lines.append(line.partition("  # ")[2] if example else line)
    return "\n".join(lines)


def comments(source: str) -> Iterator[Text]:
    """The comments; those that stand under each other are one text."""
    first, end, words = 0, (0, 0), ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        said = token.string.lstrip("#: ")
        if words and end == (line - 1, column):
            words += "\n" + said
        else:
            if words:
                yield Text(first, words)
            first, words = line, said
        end = (line, column)
    if words:
        yield Text(first, words)


def strings(tree: ast.Module) -> Iterator[Text]:
    """The docstrings and every other string of two words or more."""
    inside: set[int] = set()
    for node in ast.walk(tree):  # an f-string comes before its parts
        words = ""
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in node.values)
            words = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = "" if id(node) in inside else node.value
        if re.search(r"\w\s+\w", words):
            yield Text(node.lineno, without_examples(words))  # type: ignore[attr-defined]  # both kinds have one


def python(source: str) -> list[Text]:
    return [*strings(ast.parse(source)), *comments(source)]


def names_of_tests(source: str) -> list[Text]:
    return [
        Text(node.lineno, node.name.replace("_", " "))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
    ]


def markdown(text: str) -> list[Text]:
    return [Text(1, FENCE.sub(lambda found: "\n" * found[0].count("\n"), text))]


def notebook(text: str) -> list[Text]:
    """The prose of each cell; its line is the number of the cell."""
    return [
        Text(number, found.words.replace("\n", " "))
        for number, cell in enumerate(json.loads(text)["cells"], start=1)
        for found in (markdown if cell["cell_type"] == "markdown" else python)(
            "".join(cell["source"])
        )
    ]


def texts(path: Path) -> list[Text]:
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return markdown(source)
    if path.suffix == ".ipynb":
        return notebook(source)
    return names_of_tests(source) if ROOT / "tests" in path.parents else python(source)


def findings(found: list[Text]) -> Iterator[tuple[int, str, str]]:
    """``(line, phrase, what to write instead)`` of each phrase that a rule forbids."""
    for line, words in found:
        prose = plain(words)
        for pattern, instead in RULES:
            for match in pattern.finditer(prose):
                start = prose.rfind(" ", 0, max(0, match.start() - 25)) + 1
                phrase = " ".join(prose[start : match.end() + 25].split())
                yield line + prose.count("\n", 0, match.start()), phrase, instead


PATHS = [
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "docs/**/*.py",
        "notebooks/*.ipynb",
        "hashring/**/*.py",
        "tests/**/*.py",
    )
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_written_in_plain_words(path: Path) -> None:
    name = path.relative_to(ROOT)
    found = [
        f"{name}:{line}: {phrase!r}: write {instead}"
        for line, phrase, instead in sorted(findings(texts(path)))
    ]
    assert not found, f"{len(found)} phrases to rewrite:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "sentence",
    [
        "Interim answers (1xx) are lost, for ASGI has no words for them.",
        "whole and safe, for it tells",
        "The host answered with what is no HTTP.",
        "one of ``problems``: a port that is none",
        "Where its state is told; loopback only.",
        "which host does this client have, says one Redis for all of them",
        "growth moves nobody",
        "Seconds of silence after which a change is believed.",
        "the source insists",
        "A new secret places every client anew.",
        "in every router\nalike",
        "redraw the view all the while",
        "What a host serves at once without harm.",
        "a lost host's heirs",
        "But no more seconds than this.",
        "has the vnodes for a wish of your own",
    ],
)
def test_an_old_sentence_is_found(sentence: str) -> None:
    assert list(findings([Text(1, sentence)]))


@pytest.mark.parametrize(
    "sentence",
    [
        "for x in hosts: the loop is short",
        "Pins shared by several routers, for example through one Redis.",
        "Even shares and no memory, for pools that only grow.",
        "Kept for 300 s, for each client and its host.",
        "There is no host left, so there is none to return.",
        "Returns None where a host is no longer a member.",
        "The table is ``None`` without hosts.",
        "A counter named `heirs` of the JSON report.",
        "Retries once, after 5 s.",
    ],
)
def test_a_plain_sentence_passes(sentence: str) -> None:
    assert not list(findings([Text(1, sentence)]))


def test_a_finding_has_the_line_of_its_phrase() -> None:
    source = '"""A module.\n\n    >>> told = 1  # fine\n    """\n\n# all is\n# told here\nX = 1\n'
    ((line, phrase, instead),) = findings(python(source))
    assert (line, phrase) == (7, "all is told here")
    assert "'reports'" in instead


def test_a_test_name_is_read_as_a_sentence() -> None:
    found = names_of_tests("def test_a_chain_is_no_cycle() -> None: ...\n")
    assert [phrase for _, phrase, _ in findings(found)] == ["test a chain is no cycle"]


def test_text_in_a_fence_and_in_backquotes_is_code() -> None:
    assert not list(findings(markdown("# Page\n\n```text\nwho is told\n```\n\nUse `told`.\n")))


def test_a_notebook_is_read_by_cells() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Plain\n"]},
        {"cell_type": "code", "source": ["x = 1  # growth moves nobody"]},
    ]
    found = list(findings(notebook(json.dumps({"cells": cells}))))
    assert [(line, phrase) for line, phrase, _ in found] == [(2, "growth moves nobody")]


def test_names_of_tests_have_at_most_60_characters() -> None:
    sources = (path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    names = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    assert [name for name in sorted(names) if len(name) > 60] == []
