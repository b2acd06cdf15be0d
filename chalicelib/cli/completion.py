"""`roadstead completion`: the script that lets a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_ROADSTEAD_COMPLETE"


@click.command(epilog='Example: eval "$(roadstead completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    made_for = get_completion_class(shell)
    assert made_for is not None
    click.echo(made_for(context.find_root().command, {}, "roadstead", _VARIABLE).source())
