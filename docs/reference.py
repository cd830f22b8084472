"""The parts of the guide that the code writes: commands, settings, responses of the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from itertools import groupby
from operator import attrgetter

import click

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.cli._app import app
from hashring.config.example import as_toml
from hashring.config.settings import TABLES, all_settings
from hashring.discovery import Discovery, source
from hashring.gateway import Gateway
from hashring.gateway.error_responses import ERROR_RESPONSES
from hashring.gateway.metrics import GatewayCollector
from hashring.health import HealthMonitor, TcpProbe


def expanded(text: str) -> str:
    """The text of a page, with each ``<!-- generated: NAME -->`` replaced."""
    for name, write in WRITERS.items():
        marker = f"<!-- generated: {name} -->"
        if marker in text:
            text = text.replace(marker, "\n".join(write()))
    return text


def commands() -> Iterator[str]:
    """A section for each command: usage, help and options."""
    group = click.Context(app, info_name="hashring")
    for name in app.list_commands(group):
        command = app.get_command(group, name)
        assert command is not None
        context = click.Context(command, parent=group, info_name=name)
        usage = " ".join(command.collect_usage_pieces(context))
        yield from (f"## {name}", "", "```text", f"hashring {name} {usage}", "```", "")
        yield from _paragraphs(command.help or "")
        yield from _options(command, context)


def _paragraphs(text: str) -> Iterator[str]:
    """A help text as Markdown: paragraphs that click keeps as they are become code."""
    for paragraph in cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from ("```text", paragraph.removeprefix("\b\n"), "```", "")
        else:
            yield from (re.sub(r"--[a-z][a-z-]*", r"`\g<0>`", " ".join(paragraph.split())), "")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = [row for each in command.get_params(context) if (row := each.get_help_record(context))]
    yield from ("| option | what |", "|---|---|")
    for option, words in rows:
        if option.startswith("-") and "--help" not in option:
            yield f"| `{_cell(option)}` | {_cell(words)} |"
    yield ""


def settings() -> Iterator[str]:
    """A section for each table of the file: its keys, their defaults and values."""
    for section, found in groupby(all_settings(), attrgetter("section")):
        summary = (TABLES[section].__doc__ or "").split("\n\n")[0]
        yield from (f"## [{section}]", "", summary, "")
        yield from ("| key | default | what |", "|---|---|---|")
        for each in found:
            words = f"{_cell(each.help)} *Value:* {_cell(each.type)}."
            yield f"| `{each.name}` | `{as_toml(each.default)}` | {words} |"
        yield ""


def responses() -> Iterator[str]:
    """The responses of the gateway itself."""
    yield from ("| status | code | what, and what to do |", "|---|---|---|")
    for each in ERROR_RESPONSES.values():
        yield f"| {each.status} | `{each.code}` | {_cell(each.message)} {_cell(each.hint)} |"


def metrics() -> Iterator[str]:
    """The metrics of a gateway with every part."""
    lb = LoadBalancer(["web1"])
    gateway = Gateway(
        lb,
        tokens=TokenAffinity(lb, Tokens(bytes(range(32)))),
        health=HealthMonitor(lb, TcpProbe()),
        discovery=Discovery(source("static:web1"), lb),
    )
    yield from ("| metric | labels | what |", "|---|---|---|")
    for family in GatewayCollector(gateway).collect():
        suffix = "_total" if family.type == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in family._labelnames)
        yield f"| `{family.name}{suffix}` | {labels} | {_cell(family.documentation)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


WRITERS = {"commands": commands, "settings": settings, "responses": responses, "metrics": metrics}
