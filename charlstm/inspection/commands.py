"""charlstm inspect: the commands."""

import click


@click.group()
def inspect() -> None:
    """Look into a model: its gradients over time, its cells and gates on a text."""
