# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First run: accuracy and time out of one execution
#
# taihusim simulates the Sunway TaihuLight. A training run on it computes real numbers, so it ends with weights and an
# accuracy. The same kernels are timed on the simulated chip and network, so it ends with seconds and joules too, and
# with the reasons for them.
#
# A *node* is one chip. A chip has four *core groups*, and each has a managing core (MPE), which starts kernels, and an
# 8 × 8 mesh of computing cores (CPEs). A CPE has no data cache: the program fetches data by DMA into the CPE's
# scratchpad, the LDM. All of this stands in a machine file that names a source for each value.

# %%
import time
from math import prod

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from nnlib.kernels.products.gemm import Gemm, plan_gemm
from nnlib.lowering import lower_gradients
from sim.machine.load import load_machine
from sim.time import seconds_from_ticks
from taihusim.infer import InferRequest, infer
from taihusim.options import Settings
from taihusim.setup import prepare
from taihusim.train import train
from taihusim.training_run import TrainRequest
from workloads.words import seconds_in_words, size_in_words

plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True})


def table(columns, rows):
    """A table: the first column on the left, the others on the right."""
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return Markdown("\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines))


machine = load_machine("sunway_taihulight")
chip = machine.processor
parts = [  # name, core groups, cores, peak
    ("CPEs of a core group", 1, chip.cpes_per_core_group, chip.core_group_cpe_peak_flops),
    ("node", chip.core_groups, chip.cores, chip.peak_flops),
    ("machine", machine.nodes * chip.core_groups, machine.cores, machine.peak_flops),
]
balance = chip.core_group_cpe_peak_flops / chip.memory.bytes_per_second
display(
    table(
        ["", "cores", "peak in Gflop/s", "memory bandwidth in GB/s"],
        [
            [name, f"{cores:,}", f"{peak / 1e9:,.0f}", f"{count * chip.memory.bytes_per_second / 1e9:,.0f}"]
            for name, count, cores, peak in parts
        ],
    ),
    Markdown(
        f"Each CPE has {chip.cpe.ldm_bytes // 1024} KiB of LDM. To keep its CPEs busy, a core group must do "
        f"**{balance:.0f} floating-point operations with every byte** that it fetches."
    ),
)

# %% [markdown]
# Operations per byte are what matters on this chip: memory is slow beside the CPEs, and a kernel comes near the peak
# only if it uses data many times while they are in the LDM.
#
# A run is three separate things. The *machine* is what exists. The *workload* is what is computed: here a small
# convolutional network that learns handwritten digits. The *mapping* is how it is put on the machine: how many samples
# a node takes in a step, how gradients are added up between nodes. `prepare` loads all three.

# %%
# gradients of all ranks at once: the sums that the ranks would get, in another order and in less of your own time
setup = prepare(
    workload="digits", machine="sunway_taihulight", settings=Settings(mapping=("reduction_order=pairwise",))
)
recipe, graph = setup.workload.recipe, setup.graph
display(
    table(
        ["layer", "output of one sample", "parameters", "multiplications per sample"],
        [
            [
                node.name,
                " × ".join(str(side) for side in graph.shapes[node.name]),
                f"{sum(prod(shape) for shape in graph.parameter_shapes(node.name).values()):,}",
                f"{graph.multiply_accumulates.get(node.name, 0):,}",
            ]
            for node in graph.nodes
        ],
    ),
    Markdown(
        f"A node takes {recipe.batch_per_node} samples in a step. The goal is {recipe.until_accuracy:.0%} of the "
        f"{setup.workload.data.test_size} test images."
    ),
)

# %% [markdown]
# Training is data-parallel. In every step each node computes gradients for its own samples, an all-reduce adds them up
# over the network, and all nodes make the same update. More nodes therefore mean a larger *global batch*: fewer steps
# with less noisy gradients.
#
# Two clocks appear below. *Simulated* seconds are those of the TaihuLight. *Host* seconds are what your computer takes
# to simulate it; nothing simulated depends on them.

# %%
begin = time.perf_counter()
runs = [each.result for each in train(setup, TrainRequest(nodes=(1, 16, 256)))]
one_node = runs[0]["seconds_total"]
display(
    table(
        ["nodes", "cores", "global batch", "steps", "samples seen", "accuracy", "step", "total", "speed-up", "energy"],
        [
            [
                f"{run['nodes']:,}",
                f"{run['cores']:,}",
                f"{run['global_batch']:,}",
                f"{run['steps']:,}",
                f"{run['steps'] * run['global_batch']:,}",
                f"{run['test_accuracy']:.1%}" + ("" if run["reached"] else ", goal missed"),
                seconds_in_words(run["seconds_per_step"]),
                seconds_in_words(run["seconds_total"]),
                f"{one_node / run['seconds_total']:.1f}",
                f"{run['energy_joules']:,.0f} J",
            ]
            for run in runs
        ],
    ),
    Markdown(f"Simulated in {time.perf_counter() - begin:.0f} host seconds."),
)

# %%
names = [f"{run['nodes']:,} {'node' if run['nodes'] == 1 else 'nodes'}" for run in runs]
figure, axes = plt.subplots(figsize=(8.5, 4.3), layout="constrained")
for name, run, colour in zip(names, runs, ["#E69F00", "#009E73", "#0072B2"], strict=True):
    points = [(point["seconds"], point["accuracy"]) for point in run["curve"] if point["seconds"] > 0]
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=2, label=f"{name} ({run['cores']:,} cores)")
    axes.plot(*points[-1], color=colour, marker="o" if run["reached"] else "X", markersize=8)
axes.axhline(recipe.until_accuracy, color="#555555", linewidth=1, linestyle="--", zorder=0)
axes.annotate(
    f"goal {recipe.until_accuracy:.0%}",
    (0.01, recipe.until_accuracy),
    xycoords=("axes fraction", "data"),
    xytext=(0, 4),
    textcoords="offset points",
    color="#555555",
)
axes.set(xscale="log", ylim=(0, 1.08), xlabel="simulated time in seconds", ylabel="test accuracy")
axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
axes.grid(color="#DDDDDD")
axes.legend(loc="lower right")
axes.set_title("Accuracy against simulated time: both come out of one execution", loc="left")
plt.show()

# %% [markdown]
# Compare *speed-up* with *nodes*: they are far apart. One reason is *samples seen*: beyond some size, a larger batch
# no longer saves steps in proportion, and the added nodes compute samples that teach the network little. No faster
# chip or network changes that. It costs energy too, as all nodes draw power all the time.
#
# The other reason lies inside a step, whose time is divided among these without a gap:

# %%
REASONS = {  # key in the result: words, colour
    "compute": ("computing", "#009E73"),
    "dma_wait": ("waiting for memory (DMA)", "#0072B2"),
    "mesh_wait": ("waiting for the mesh", "#56B4E9"),
    "imbalance": ("waiting for the slowest CPE", "#CC79A7"),
    "launch": ("starting kernels", "#E69F00"),
    "group_sync": ("core groups meeting", "#999999"),
    "communication_exposed": ("waiting for the network", "#D55E00"),
}
figure, axes = plt.subplots(figsize=(9.5, 3.2), layout="constrained")
starts = [0.0] * len(runs)
for key, (words, colour) in REASONS.items():
    shares = [run["shares"].get(key, 0.0) for run in runs]
    widths = [1e3 * run["seconds_per_step"] * share for run, share in zip(runs, shares, strict=True)]
    bars = axes.barh(names, widths, left=starts, color=colour, edgecolor="white", height=0.65, label=words)
    texts = [f"{share:.0%}" if share >= 0.05 else "" for share in shares]
    axes.bar_label(bars, texts, label_type="center", color="white", fontweight="bold")
    starts = [start + width for start, width in zip(starts, widths, strict=True)]
axes.invert_yaxis()
axes.set_xlabel("simulated time of one step in ms")
axes.set_title("Where a step's time goes", loc="left")
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
plt.show()
for name, run in zip(names, runs, strict=True):
    print(f"{name}: {run['bottleneck']}")

# %% [markdown]
# Every node does the same work however many there are, so the bars differ in the network's part alone. And the CPEs
# rarely compute: each core group has so few samples that starting a kernel takes longer than running it.
#
# Inference has no all-reduce: each node answers its own requests. Below, both run on up to the whole machine. Times do
# not depend on the numbers computed, so `numerics=off` times the whole machine in a moment.

# %%
timing = prepare(workload="digits", settings=Settings(mapping=("numerics=off",)))
sizes = (1, 16, 256, 4_096, machine.nodes)
series = [  # name, points, colour, place of the label
    ("inference", infer(timing, InferRequest(nodes=sizes)).points, "#0072B2"),
    ("training", [each.result for each in train(timing, TrainRequest(nodes=sizes, epochs=1))], "#D55E00"),
]
figure, (rate_axes, share_axes) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
for name, points, colour in series:
    rates = [point["samples_per_second"] for point in points]
    shares = [point["efficiency"] for point in points]
    rate_axes.plot(sizes, [rates[0] * nodes for nodes in sizes], color=colour, linewidth=1, linestyle=":")
    rate_axes.plot(sizes, rates, color=colour, linewidth=2, marker="o", label=name)
    share_axes.plot(sizes, shares, color=colour, linewidth=2, marker="o")
    share_axes.annotate(
        f"{shares[-1]:.0%}",
        (sizes[-1], shares[-1]),
        xytext=(0, -16),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontweight="bold",
    )
for axes, title in ((rate_axes, "Samples per second (dotted: ideal)"), (share_axes, "Samples per second of each node")):
    axes.set(xscale="log", xlabel="nodes")
    axes.set_xticks(sizes, [f"{nodes:,}" for nodes in sizes])
    axes.set_xticks([], minor=True)
    axes.set_title(title, loc="left")
    axes.grid(color="#DDDDDD")
rate_axes.set_yscale("log")
rate_axes.legend(loc="upper left", frameon=False)
share_axes.set(ylim=(0, 1.08), ylabel="relative to one node alone")
share_axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
plt.show()

# %% [markdown]
# Inference scales. Training pays for the all-reduce in each step, and on top of that for the steps that a larger batch
# does not save: the picture shows only the first of these two.
#
# Now a first *what-if*: half the LDM. One setting changes the machine; everything else follows, as each kernel takes
# the fastest tiles that fit. Guess before you run the cell: how much longer is a step? And a product of large
# matrices?

# %%
half = prepare(workload="digits", settings=Settings(machine=("processor.cpe.ldm=32KiB",), mapping=("numerics=off",)))
setups = {f"{each.machine.processor.cpe.ldm_bytes // 1024} KiB": each for each in (timing, half)}
program = lower_gradients(model=setup.model, batch=timing.core_group_batch(1), dtype=timing.mapping.dtype)
kernels = [launch.kernel for launch in program.launches]
slower = sum(half.clock.time(kernel).ticks > timing.clock.time(kernel).ticks for kernel in kernels)
steps = {
    name: [each.result["seconds_per_step"] for each in train(its, TrainRequest(nodes=(1, 256), epochs=1))]
    for name, its in setups.items()
}
display(
    table(
        ["LDM", "step on 1 node", "step on 256 nodes"],
        [[name, *(f"{1e3 * each:.4g} ms" for each in seconds)] for name, seconds in steps.items()],
    ),
    Markdown(
        f"With half the LDM a step of the digits network on one node is "
        f"{steps['32 KiB'][0] / steps['64 KiB'][0] - 1:.1%} longer: of the {len(kernels)} kernels that compute the "
        f"gradients, {slower} took longer."
    ),
)
matrices = (256, 512, 1024, 2048)
rows, reached = [], {name: [] for name in setups}
for n in matrices:
    for name, each in setups.items():
        gemm = Gemm(m=n, n=n, k=n, dtype="fp64")
        plan, counted = plan_gemm(gemm=gemm, processor=each.machine.processor), each.clock.time(gemm)
        seconds = seconds_from_ticks(counted.ticks, clock_hertz=chip.clock_hertz)
        waiting = sum(counted.mean_ticks(reason) for reason in ("dma_issue", "dma_queue", "dma_wait")) / counted.ticks
        reached[name].append(counted.flops / seconds / chip.core_group_cpe_peak_flops)
        tile = f"{plan.m} × {plan.n}"
        fetched = size_in_words(counted.get_bytes)
        per_byte = f"{counted.flops / (counted.get_bytes + counted.put_bytes):.0f}"
        rows.append([f"{n:,}", name, tile, fetched, per_byte, f"{waiting:.0%}", seconds_in_words(seconds)])
display(table(["n", "LDM", "tile of a CPE", "fetched", "operations per byte", "waiting for DMA", "time"], rows))
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, shares), colour in zip(reached.items(), ["#0072B2", "#D55E00"], strict=True):
    axes.plot(matrices, shares, color=colour, linewidth=2, marker="o", label=f"{name} of LDM")
axes.set(xscale="log", ylim=(0, 1.0), xlabel="n", ylabel="share of the CPEs' peak")
axes.set_xticks(matrices, [f"{n:,}" for n in matrices])
axes.set_xticks([], minor=True)
axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
axes.set_title("Product of two n × n matrices on one core group", loc="left")
axes.grid(color="#DDDDDD")
axes.legend(loc="lower right", frameon=False)
plt.show()

# %% [markdown]
# The digits network hardly notices: its arrays are so small that few kernels fill even half the LDM. The large matrix
# product does. Smaller tiles are used less often before they are thrown away, so the same product fetches more bytes,
# and where the operations per byte come near the number at the top of this lesson, the CPEs wait. A larger scratchpad
# pays only where a workload has data to use again.
#
# **Exercises.** Write down what you expect before you run anything.
#
# 1. Starting kernels takes most of a step. Train on 16 nodes with `batch_per_node=256` among the mapping's settings,
#    then with `persistent_threads=true` instead. Which shares change, and what comes first after it? Which of the two
#    shortens the *total* time, and why is a larger share of computing not enough?
# 2. Give the chip `processor.cpe.ldm=128KiB` and repeat the table of matrix products. From which n on does the
#    additional LDM pay? Predict the bytes fetched for n = 2,048 from the tile alone, then compare.
