"""The command line: each command parses, makes one library call and prints."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from . import __version__, kernels
from .cache import cache_folder, cache_limit, cache_size, clear_cache
from .errors import CharlstmError
from .inspection.commands import inspect
from .measures import evaluate, score
from .options import (
    LINES_AT_ONCE,
    json_option,
    novelty_option,
    run_option,
    sample_options,
    train_options,
    unknown_option,
)
from .terminal import protect_terminal, visible

STARTED = time.monotonic()  # the time budget of `train` counts from here
SIGNAL_EXITS = {"SIGINT": 130, "SIGTERM": 143}


class CommandGroup(click.Group):
    """Prints what charlstm refuses as one line, and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            kernels.require_what_was_asked_for()
            return super().invoke(ctx)
        except CharlstmError as error:
            message = " ".join(str(error).split())
        except click.UsageError as error:
            told = error.format_message()  # which quotes what it was given
            if told.isprintable() or type(error).__name__ == "NoArgsIsHelpError":
                raise
            raise click.UsageError(visible(told), error.ctx) from None
        except MemoryError:
            message = "not enough memory: try a smaller --hidden, --lanes or --window"
        except BrokenPipeError:  # the reader of our output has gone, as `head` does
            sys.stdout = None  # or Python would flush it at exit
            ctx.exit(0)
        except OSError as error:  # that nobody expected: a full disk behind standard output
            message = f"{error.filename or 'failed'}: {error.strerror or error}"
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(130)
        click.echo(f"charlstm: {visible(message)}", err=True)
        ctx.exit(1)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="charlstm")
def main() -> None:
    """Train character-level language models on your own text, and use them."""
    protect_terminal()


for command in (evaluate, score, inspect):
    main.add_command(command)


@main.command()
@click.argument("corpus", nargs=-1)
@click.option(
    "-r",
    "--run",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: a new one under runs/, named after the corpus]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run, bit for bit; only its end "
    "(--steps, --epochs, --minutes) may be given anew.",
)
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a run.")
@click.option(
    "--init-from",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Start from the best weights of another run; new characters are added.",
)
@train_options
@click.option("--quiet", is_flag=True, help="Only the result and errors.")
@json_option
def train(quiet: bool, as_json: bool, **options: Any) -> None:
    """Train a model on CORPUS: text files and folders, or - for standard input.

    Files compressed with gzip or xz are read as text. The run's folder gets best.safetensors (the
    model), last.safetensors (all it takes to go on) and metrics.jsonl.
    """
    from .display import in_nats_and_bits
    from .launch import train as train_model

    result = train_model(started=STARTED, quiet=quiet, **options)
    loss = result.best_val_loss
    if as_json:
        click.echo(
            json.dumps(
                {
                    "path": str(result.path),
                    "best_val_loss": loss,
                    "steps": result.steps,
                    "reason": result.reason,
                    "warnings": result.warnings,
                }
            )
        )
    else:
        found = "no validation loss"
        if loss is not None:
            found = f"best validation loss {in_nats_and_bits(loss)}"
        click.echo(f"{result.path}: {result.steps:,} steps, {found}")
    if result.reason in SIGNAL_EXITS:
        again = f"charlstm train -r {visible(str(result.path))} --resume"
        click.echo(f"interrupted and saved: {again}", err=True)
        sys.exit(SIGNAL_EXITS[result.reason])
    if not quiet:
        click.echo(f"charlstm sample -r {visible(str(result.path))}", err=True)


@main.command()
@run_option
@sample_options
@unknown_option
@novelty_option
@json_option
def sample(
    run: Path | None,
    prime_file: Path | None,
    hide_prime: bool,
    length: int,
    count: int | None,
    seed: int | None,
    stop: tuple[str, ...],
    prime: str,
    unknown: str,
    novelty: bool,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Write text from a model, each character as it comes; a model of lines writes whole lines."""
    import secrets

    from .comparison import Comparison
    from .console import read_pieces, read_whole, tell_unknown, writer
    from .folder import load, newest_run
    from .sampler import Sampling, stream_texts

    if prime and prime_file:
        raise click.UsageError("give --prime or --prime-file, not both")
    if length == 0 and (novelty or as_json or (count or 1) > 1):
        what = "--novelty is told" if novelty else "all but the first sample are shown"
        raise click.UsageError(f"{'--json is' if as_json else what} at the end: give a --length")
    options = Sampling(**sampling)
    run = run or newest_run()
    model = load(run)
    between = "\n\n"
    if model.config.lines:  # a sample is a line
        stop, between = (*stop, "\n"), "\n"
    if count is None:
        count = LINES_AT_ONCE if model.config.lines else 1
    comparison = Comparison(run, model) if novelty else None
    if prime_file:
        prime = read_whole(read_pieces([prime_file], "utf-8"))
    if seed is None:
        seed = secrets.randbelow(2**32)
        click.echo(f"seed {seed}", err=True)
    tell_unknown(model.vocab, prime, unknown)
    pieces = stream_texts(
        model,
        length=length,
        count=count,
        prime=prime,
        unknown=unknown,
        sampling=options,
        stops=stop,
        seed=seed,
    )
    write = writer()
    shown_prime = "" if hide_prime else prime
    kept: list[list[str]] = [[] for _ in range(count)]
    if not as_json:
        write(shown_prime)
    for step in pieces:
        if not as_json:
            write(step[0])  # the first sample as it grows, the others when it is done
        for k in range(0 if novelty or as_json else 1, count):
            kept[k].append(step[k])
    texts = ["".join(parts) for parts in kept]
    if as_json:
        about: dict[str, Any] = {"seed": seed, "texts": [shown_prime + text for text in texts]}
        if comparison is not None:
            about["novelty"] = comparison.as_json([model.vocab.encode(text) for text in texts])
        click.echo(json.dumps(about))
        return
    for text in texts[1:]:
        write(between + shown_prime + text)
    write("\n")
    if comparison is not None:
        click.echo(comparison.told([model.vocab.encode(text) for text in texts]), err=True)


@main.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@run_option
@json_option
def info(path: Path | None, run: Path | None, as_json: bool) -> None:
    """Tell what a run or a checkpoint file holds, and what computes here.  [default: newest run]

    Where there is no run at all, it tells the kernels and the precision of training.
    """
    from .folder import describe, describe_machine, newest_run

    if path and run:
        raise click.UsageError("give a PATH or -r, not both")
    place = path or run
    if place is None:
        try:
            place = newest_run()
        except CharlstmError as error:
            click.echo(visible(str(error)), err=True)
    about = describe_machine() if place is None else describe(place)
    if as_json:
        click.echo(json.dumps(about))
        return
    for name, value in about.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
        click.echo(f"{name.replace('_', ' '):14} {visible(str(value))}")


@main.command()
@click.option("--clear", is_flag=True, help="Remove all of it.")
def cache(clear: bool) -> None:
    """Show or clear the cache of encoded texts.

    It lies in CHARLSTM_CACHE, by default the user's cache folder, and may grow to
    CHARLSTM_CACHE_GB (10); what was used longest ago goes first.
    """
    if clear:
        click.echo(f"{clear_cache():,} bytes freed")
        return
    size, entries = cache_size()
    click.echo(f"{cache_folder()}: {entries} texts, {size:,} of {cache_limit():,.0f} bytes")
