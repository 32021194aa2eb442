"""charlstm serve: let other programs and a page in the browser write text with models."""

import json
from pathlib import Path
from typing import Any

import click

from charlstm.cli.help import GroupedCommand
from charlstm.cli.loading import note_missing_best
from charlstm.cli.shared_options import PathArgument, knob_options, knob_values
from charlstm.config.limits import Limits
from charlstm.errors import CharlstmError
from charlstm.runs.folder import newest_run
from charlstm.system.terminal import visible, visible_lines


@click.command(cls=GroupedCommand)
@click.option(
    "-r",
    "--run",
    "runs",
    multiple=True,
    type=PathArgument(),
    help="Folder of a run, or file of a checkpoint; may be given several times. Clients choose a "
    "model by the name of its folder; the first is the default.  [default: the newest run under "
    "runs/]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. By default only programs on this machine reach the server; 0.0.0.0 "
    "lets the network in: then give --api-key too.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at, 0 or more, at most 65535; 0: any that is free.",
)
@click.option(
    "--api-key",
    envvar="CHARLSTM_API_KEY",
    help="Key that every request must have: clients send it as OpenAI's, a browser asks for it as "
    "the password.  [default: $CHARLSTM_API_KEY, or no key]",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="Name by which this machine is called, such as box.local; may be given several times. "
    "Requests under other names than localhost, addresses in numbers and --host are refused, as a "
    "page of another site could make them.",
)
@click.option(
    "--cors",
    "origins",
    multiple=True,
    help="Site whose pages may use the server, such as https://example.org; may be given several "
    "times. Requests from pages of other sites are refused.",
)
@click.option("--reports", is_flag=True, help="Show the reports of the runs under /runs/.")
@knob_options(Limits)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the address and the names of the models as JSON when the server has started.",
)
def serve(
    runs: tuple[Path, ...],
    host: str,
    port: int,
    api_key: str | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    reports: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Serve models: a page to try them at /, and the endpoint /v1/completions of OpenAI's API.

    Clients of OpenAI's API take http://127.0.0.1:8000/v1 as the base URL. A character counts as a
    token. The server prints its address on standard output when it has started; Ctrl-C ends it,
    after it has let texts be finished for up to 5 seconds. When training saves a better model, the
    next requests get it.
    """
    try:
        # The modules are imported here, as only this command needs Starlette and uvicorn.
        from charlstm.server.serving import is_loopback, listen, serve, url_of
    except ImportError as error:
        raise CharlstmError(
            "charlstm serve needs Starlette and uvicorn: pip install 'charlstm[serve]'"
        ) from error
    if api_key == "":
        raise click.UsageError("--api-key is empty: give a key, or leave the option out")
    chosen = Limits(**knob_values(limits))
    chosen.require_chosen()
    paths = runs or (newest_run(),)
    for path in paths:
        note_missing_best(path)
    listener = listen(host, port)
    if api_key is None and not is_loopback(listener):
        click.echo(
            "warning: the network reaches this server, and anyone may use it: give --api-key",
            err=True,
        )

    def started(names: list[str]) -> None:
        url = url_of(listener)
        if as_json:
            click.echo(json.dumps({"url": url, "models": names}))
        else:
            click.echo(f"serving {visible(', '.join(names))} at {url} (Ctrl-C ends)")

    serve(
        paths,
        listener,
        limits=chosen,
        hosts=(host, *hosts),
        origins=origins,
        key=api_key,
        reports=reports,
        started=started,
        warn=lambda text: click.echo(f"warning: {visible_lines(text)}", err=True),
    )
