"""charlstm convert: make a checkpoint from the weights of another program."""

from pathlib import Path

import click

from charlstm.cli.help import GroupedCommand
from charlstm.cli.shared_options import PathArgument, overwrite_option
from charlstm.runs.folder import save
from charlstm.system.output_files import require_output


@click.command(cls=GroupedCommand)
@click.argument("file", type=PathArgument())
@click.argument("output", type=PathArgument())
@click.option(
    "--vocab",
    "vocab",
    type=PathArgument(),
    help="JSON file with the vocabulary: a list of the characters in the order of their ids, or an "
    "object from characters to ids. FILE itself may hold such a list, named symbols.",
)
@overwrite_option
def convert(file: Path, output: Path, vocab: Path | None, overwrite: bool) -> None:
    """Make OUTPUT, such as model.safetensors, from the weights of a model of PyTorch in FILE.

    FILE holds the state dictionary of an nn.LSTM, nn.GRU or nn.RNN and an nn.Linear, with or
    without an nn.Embedding: as torch.save writes it, or as .safetensors. The names that their
    modules add do not matter. No code in FILE is run. PyTorch reads it:
    pip install "charlstm[torch]".
    """
    from charlstm.torch_engine.files import read_model

    require_output(output, [file, *([vocab] if vocab else [])], overwrite)
    save(read_model(file, vocab), output)
    click.echo(output)
