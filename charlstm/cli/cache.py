"""charlstm cache: show or clear the cache of encoded texts."""

import click

from charlstm.text.cache import cache_folder, cache_limit, cache_size, clear_cache


@click.command()
@click.option("--clear", is_flag=True, help="Remove all encoded texts.")
def cache(clear: bool) -> None:
    """Show or clear the cache of encoded texts.

    The cache lies in the folder that the environment variable CHARLSTM_CACHE names, by default in
    the user's cache folder. It may grow to CHARLSTM_CACHE_GB (10) gigabytes; beyond that the texts
    used longest ago are removed.
    """
    if clear:
        click.echo(f"{clear_cache():,} bytes freed")
        return
    size, entries = cache_size()
    click.echo(f"{cache_folder()}: {entries} texts, {size:,} of {cache_limit():,.0f} bytes")
