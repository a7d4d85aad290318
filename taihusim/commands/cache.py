"""``taihusim cache``: what is kept on disk."""

from __future__ import annotations

import click

from taihusim.console import print_json, print_table
from taihusim.options import json_option


@click.command(name="cache")
@click.option("--clear", is_flag=True, help="Drop all entries; what they hold is computed again when needed.")
@json_option
def command(clear: bool, as_json: bool) -> None:
    """Show where times and descriptions are kept between runs, or drop them.

    Times of kernels, steps of nodes, and machines, mappings and workloads that have been checked. An entry is found
    only by the same chip, kernel, files and settings and the same code of the simulator, so the store never has to be
    cleared after a change. TAIHUSIM_CACHE names another folder for it, or says "off".

    Examples:

    \b
      taihusim cache
      taihusim cache --clear
    """
    from taihusim.cache import cache_path, default_store

    path, store = cache_path(), default_store()
    dropped = store.clear() if clear and store is not None else 0
    entries = store.entries() if store is not None else 0
    size = path.stat().st_size if path is not None and path.exists() else 0
    if as_json:
        place = None if path is None else str(path)
        print_json({"path": place, "entries": entries, "bytes": size, "dropped": dropped})
        return
    rows = [("file", "off" if path is None else str(path)), ("entries", f"{entries:,}"), ("size", f"{size:,} B")]
    print_table(title="Kept on disk", columns=("what", "value"), rows=rows)
    if clear:
        click.echo(f"dropped {dropped:,}")
