"""``hashring help``: the help of a command."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> None:
    """Show the help of a command.

    \b
    hashring help plan
    """
    parent = ctx.parent
    assert parent is not None, "it is a command of the group"
    if name is None:
        click.echo(parent.get_help())
        return
    group = parent.command
    assert isinstance(group, click.Group), "its parent is the group"
    _, found, _ = group.resolve_command(parent, [name])
    assert found is not None, "an unknown name is a usage error"
    with click.Context(found, info_name=name, parent=parent) as of_command:
        click.echo(found.get_help(of_command))
