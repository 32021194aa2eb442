"""charlstm cache: show or clear the cache of encoded texts."""

import click

from charlstm.text.cache import cache_folder, cache_limit, cache_size, clear_cache


@click.command()
@click.option("--clear", is_flag=True, help="Remove all encoded texts.")
def cache(clear: bool) -> None:
    """Show or clear the cache of encoded texts.

    Texts are kept as numbers, so that a second run on the same text starts at once. The environment
    variable CHARLSTM_CACHE names the folder of the cache, by default in the user's cache folder;
    CHARLSTM_CACHE_GB sets its largest size in gigabytes, by default 10. Beyond that, the texts that
    were used longest ago are removed.
    """
    if clear:
        click.echo(f"{clear_cache():,} bytes freed")
        return
    size, entries = cache_size()
    click.echo(f"{cache_folder()}: {entries} texts, {size:,} of {cache_limit():,.0f} bytes")
