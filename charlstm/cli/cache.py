"""charlstm cache: show or clear the cache of encoded texts."""

from contextlib import closing

import click

from charlstm.cli.help import GroupedCommand
from charlstm.system.wording import counted
from charlstm.text.cache import cache_folder, cache_limit, cache_size, clear_cache
from charlstm.text.cache_entry import remove_damaged_entries


@click.command(cls=GroupedCommand)
@click.option("--clear", is_flag=True, help="Remove all encoded texts.")
@click.option(
    "--check",
    is_flag=True,
    help="Compare all encoded texts with their checksums, and remove those that are damaged or of "
    "another version of charlstm.",
)
def cache(clear: bool, check: bool) -> None:
    """Show, check or clear the cache of encoded texts.

    The cache keeps texts as numbers: a second run on the same text starts at once. The environment
    variable CHARLSTM_CACHE names the folder of the cache, by default in the user's cache folder.
    CHARLSTM_CACHE_GB sets the largest size of the cache in gigabytes, by default 10. If the cache
    grows larger, the least recently used texts are removed. A text whose copy in the cache is
    damaged is encoded again. Of texts above 64 MB only the size is checked, unless you use --check.
    """
    if clear and check:
        raise click.UsageError("give --check or --clear, not both")
    if check:
        # The module is imported here, as its import of tqdm is slow.
        from charlstm.runs.progress_display import CorpusDisplay

        with closing(CorpusDisplay("text")) as display:
            intact, removed = remove_damaged_entries(display)
        click.echo(f"{counted(intact, 'text')} intact, {removed:,} damaged and removed")
        return
    if clear:
        click.echo(f"{counted(clear_cache(), 'byte')} freed")
        return
    size, entries = cache_size()
    click.echo(
        f"{cache_folder()}: {counted(entries, 'text')}, {size:,} of {cache_limit():,.0f} bytes"
    )
