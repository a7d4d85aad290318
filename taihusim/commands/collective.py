"""``taihusim collective``: one collective on the network of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taihusim.console import print_json, print_table, progress
from taihusim.options import json_option, set_option, split_settings
from workloads.words import nodes_in_words, seconds_in_words, size_in_words

if TYPE_CHECKING:
    from taihusim.collective import Collective

MOST_ROWS = 60
"""Steps of the table on the screen."""


@click.command(name="collective")
@click.argument("op")
@click.option("--bytes", "size", default="100MB", show_default=True, help="Bytes of each rank, e.g. 4KiB or 100MB.")
@click.option("--nodes", type=int, default=1024, show_default=True, help="Nodes that take part.")
@click.option("--algorithm", help="How; left out, what the library or MPI takes.")
@click.option(
    "--ranks-per-node", type=click.Choice(["1", "4"]), default="1", show_default=True, help="Ranks of each node."
)
@click.option(
    "--segments",
    type=click.IntRange(min=1, max=100_000),
    default=16,
    show_default=True,
    help="Parts of the message in a chain.",
)
@click.option(
    "--reduction-by",
    type=click.Choice(["mpe_scalar", "mpe_simd", "core_group", "chip"]),
    default="core_group",
    show_default=True,
    help="Who adds what arrives.",
)
@click.option("--reduction-overlap", is_flag=True, help="Add while the rest of a message still arrives.")
@click.option("--message-segment", metavar="SIZE", help="Split messages longer than this, e.g. 64KiB.")
@click.option(
    "--in-flight", type=click.IntRange(min=1), default=1, show_default=True, help="Segments under way at a time."
)
@click.option(
    "--network",
    type=click.Choice(["step", "flow"]),
    default="step",
    show_default=True,
    help="By steps, exact or, with very many messages, saying it is approximated; or every message a flow (slow).",
)
@click.option("--steps", is_flag=True, help="Also show what each step did.")
@click.option("--trace", type=click.Path(path_type=Path), help="File for a timeline (ui.perfetto.dev).")
@click.option("--machine", default="sunway_taihulight", show_default=True, help="Machine, name or file.")
@set_option
@json_option
def command(
    op: str,
    size: str,
    nodes: int,
    algorithm: str | None,
    ranks_per_node: str,
    steps: bool,
    trace: Path | None,
    machine: str,
    settings: tuple[str, ...],
    as_json: bool,
    **asked: Any,
) -> None:
    """Time one collective: allreduce, broadcast, reduce, reduce_scatter, allgather, alltoall, scatter or gather.

    Prints the time until the last rank is through, the effective bandwidth (bytes that have to pass a rank at least, in
    that time), what the time consists of, when ranks are through, and the busiest links.

    Algorithms: of allreduce halving_doubling, halving_doubling_far, halving_doubling_round_robin, recursive_doubling,
    ring, hierarchical, binomial_tree, parameter_server, in_network, mpich; of broadcast binomial_tree,
    scatter_doubling, scatter_ring, chain, mpich; an unknown one lists those of its collective.

    Examples:

    \b
      taihusim collective allreduce --bytes 100MB --nodes 1024 --algorithm halving_doubling
      taihusim collective broadcast --bytes 1MiB --nodes 256 --algorithm chain --segments 64 --json
      taihusim collective alltoall --bytes 8MB --nodes 64 --network flow
    """
    from taihusim.cache import default_store
    from taihusim.collective import collective_request, run_collective
    from taihusim.descriptions import described_machine
    from taihusim.places import check_file

    check_file(trace, option="--trace")
    changes = split_settings(settings, nouns=("machine",)).machine
    spec = described_machine(machine, changes, store=default_store())
    request = collective_request(
        machine=spec,
        op=op,
        size=size,
        algorithm=algorithm,
        nodes=nodes,
        ranks_per_node=int(ranks_per_node),
        **asked,
    )
    with progress() as report:
        report.say(f"{request.operation} over {nodes_in_words(nodes)}", None)
        done = run_collective(request, machine=spec, trace=steps or trace is not None)
        result = done.as_json()
    if trace is not None and done.trace is not None:
        from workloads.files import replaced

        with replaced(trace) as file:
            file.write(done.trace.timeline(title=f"{request.operation}, {request.algorithm}, {nodes_in_words(nodes)}"))
    if as_json:
        print_json(result)
        return
    _print(done, result, steps=steps)
    if trace is not None:
        click.echo(f"wrote {trace}")


def _print(done: Collective, result: dict[str, Any], *, steps: bool) -> None:
    request, spread = done.request, result["seconds_by_rank"]
    rate = result["effective_gbs"]
    rows = [
        ("time", seconds_in_words(result["seconds"]), "until the last rank is through"),
        ("first rank", seconds_in_words(spread["first"]), f"median {seconds_in_words(spread['median'])}"),
        ("effective bandwidth", None if rate is None else f"{rate:.3g} GB/s", "what has to pass a rank at least"),
        ("software and hops", seconds_in_words(result["latency_seconds"]), "slowest message of each step"),
        ("transfers", seconds_in_words(result["transfer_seconds"]), f"{size_in_words(result['moved_bytes'])} in all"),
        ("additions", seconds_in_words(result["reduce_seconds"]), f"by {request.reduction_by.replace('_', ' ')}"),
        ("steps", f"{result['steps']:,}", f"{result['messages']:,} messages"),
        ("contention", result["contention"], "how links were shared"),
    ]
    where = f"on {nodes_in_words(request.nodes)} of {done.machine.name}"
    title = f"{request.operation} of {size_in_words(request.size)}, {request.algorithm}, {where}"
    print_table(("", "value", "note"), rows, title=title, right=("value",))
    click.echo()
    links = [
        (
            link["name"],
            size_in_words(link["bytes"]),
            f"{link['bytes_per_second'] / 1e9:.3g} GB/s",
            seconds_in_words(link["busy_seconds"]),
            f"{100 * link['busy_share']:.0f} %",
        )
        for link in result["busiest_link_of_each_kind"]
    ]
    print_table(
        ("busiest link of each kind", "carried", "rate", "busy", "of the time"),
        links,
        right=("carried", "rate", "busy"),
    )
    if steps and done.trace is not None:
        click.echo()
        shown = done.trace.rows[:MOST_ROWS]
        print_table(
            ("step", "messages", "largest", "adds", "from", "to"),
            [
                (
                    f"{number + 1}" if row.turns == 1 else f"{number + 1}, {row.turns} times",
                    f"{row.messages:,}",
                    size_in_words(row.bytes_each),
                    "yes" if row.adds else "no",
                    seconds_in_words(row.begin),
                    seconds_in_words(row.end),
                )
                for number, row in enumerate(shown)
            ],
            right=("messages", "largest", "from", "to"),
        )
        if len(done.trace.rows) > MOST_ROWS:
            click.echo(f"{len(done.trace.rows) - MOST_ROWS:,} more steps; --json has them all")
