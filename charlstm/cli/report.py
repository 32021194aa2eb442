"""charlstm report: write a page that shows a run, or several runs side by side."""

from contextlib import closing
from pathlib import Path

import click

from charlstm.cli.help import GroupedCommand
from charlstm.cli.option_names import as_options
from charlstm.cli.shared_options import PathArgument, overwrite_option
from charlstm.errors import CharlstmError
from charlstm.pages.page import write_page
from charlstm.runs.event_files import write_event_file
from charlstm.runs.folder import METRICS, newest_run
from charlstm.runs.history import read_history
from charlstm.runs.report import report_page, run_data
from charlstm.system.output_files import require_output
from charlstm.system.terminal import visible
from charlstm.system.wording import counted, size_in_words


@click.command(cls=GroupedCommand)
@click.option(
    "-r",
    "--run",
    "runs",
    multiple=True,
    type=PathArgument(),
    help="Folder of a run; may be given several times.  [default: the newest run under runs/]",
)
@click.option(
    "-o",
    "--output",
    type=PathArgument(),
    default="report.html",
    show_default=True,
    help="File to write the page to.",
)
@overwrite_option
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--tensorboard",
    type=PathArgument(),
    metavar="DIR",
    help="Write event files for TensorBoard instead of the page: DIR/NAME for the run NAME. Needs "
    "charlstm[tensorboard].",
)
def report(
    runs: tuple[Path, ...], output: Path, overwrite: bool, opens: bool, tensorboard: Path | None
) -> None:
    """Write a page that shows a run: curves, samples, held-out text by surprisal, and settings.

    With several runs, the page lays their curves over each other, and has a table of the results
    and of the settings in which the runs differ. The page is one HTML file and needs no internet
    connection. It holds no absolute path, user or machine name. Training writes such a page into
    the run's folder: report.html, which an open browser renews.
    """
    # The module is imported here, as its import of tqdm is slow.
    from charlstm.runs.progress_display import CorpusDisplay

    folders = [
        run.parent if run.suffix == ".safetensors" else run for run in runs or (newest_run(),)
    ]
    if tensorboard is not None:
        names = [folder.resolve().name for folder in folders]
        for name in names:
            if names.count(name) > 1:
                raise CharlstmError(
                    f"--tensorboard: several runs are named {name}, as their event files would be: "
                    "call charlstm report for each, with another DIR"
                )
        for folder in folders:
            _write_events(folder, tensorboard)
        return
    require_output(output, [folder / METRICS for folder in folders], overwrite)
    data = []
    with closing(CorpusDisplay()) as display:
        for folder in folders:
            found, _, missing = run_data(folder, display)
            data.append(found)
            for text in missing:
                command = click.get_current_context().command
                click.echo(f"note: {visible(as_options(text, command))}", err=True)
    replaced = "; replaced the page of this name" if output.exists() else ""
    size = write_page(output, report_page(data))
    click.echo(f"{counted(len(data), 'run')}; {size_in_words(size)}{replaced}", err=True)
    click.echo(output)
    if opens and click.launch(output.resolve().as_uri()) != 0:
        raise CharlstmError(f"no browser could be started: open {output} yourself")


def _write_events(folder: Path, target: Path) -> None:
    """Write the event file of a run into a folder of its own in a folder."""
    history = read_history(folder)
    if not history.steps:
        raise CharlstmError(f"{folder}: no events of a run (in {METRICS}) to write")
    ends = (folder / METRICS).stat().st_mtime
    click.echo(write_event_file(history, target / folder.resolve().name, ends))
