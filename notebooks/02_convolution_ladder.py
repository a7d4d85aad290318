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
# # The optimisation ladder: why is my convolution at a few percent of the peak, and what brings it to 60 %?
#
# A core group of the Sunway TaihuLight computes 742 GFLOPS at most. A first port of a convolution reaches 40 of them,
# or 0.2. In this lesson the same convolution runs seven times, each time with one more mechanism of the chip in use.
# Published numbers exist for six of the steps (Zhao et al., ACM TACO 2018, figure 8).
#
# Each step is a *tile program*: what the computing cores (CPEs) do, tile by tile, between memory and their scratchpads
# (LDM). The same program computes numbers and is timed. So we ask both of it: are the numbers right, and how long does
# it take?

# %%
import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.convolutions.direct import DirectConvolution
from nnlib.kernels.convolutions.dma_convolution import DmaConvolution
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from nnlib.kernels.launch import Launch
from nnlib.kernels.simulation import simulate
from sim.chip.memory import MemoryUse
from sim.chip.pipeline.listing import issue_table
from sim.chip.pipeline.roles import ROLES
from sim.chip.pipeline.schedules import SCHEDULES
from sim.chip.pipeline.scoreboard import issue_all
from sim.chip.pipeline.unblocked import unblocked_loop
from sim.chip.processor import launch_segment
from sim.machine.load import load_machine
from taihusim.kernel_error import launches_error
from taihusim.validation.table import read_tables

plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True})


def table(columns, rows):
    """A table: the first column on the left, the others on the right."""
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return Markdown("\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines))


chip = load_machine("sunway_taihulight").processor
peak = chip.core_group_cpe_peak_flops


def convolution(rows, columns, channels=128, batch=128):
    """3 × 3 taps, no padding, ``rows`` × ``columns`` output pixels."""
    return Convolution(batch=batch, ni=channels, no=channels, ri=rows + 2, ci=columns + 2, kr=3, kc=3)


def direct(shape):
    return DirectConvolution(convolution=shape, which="forward", dtype="fp64")


def by_dma(shape, **on):
    return DmaConvolution(convolution=shape, which="forward", dtype="fp64", **on)


def on_the_mesh(shape, **how):
    return BatchSizeAware(convolution=shape, which="forward", dtype="fp64", **{"library": "swcaffe-2018", **how})


STEPS = {  # name: kernel of a shape, core groups, the published step
    "loads straight from memory": (direct, 1, None),
    "operands by DMA into the LDM": (
        lambda shape: by_dma(shape, vectorised=False, overlapped=False), 1, "basic Alg.2 1 CG"
    ),
    "+ vector instructions": (lambda shape: by_dma(shape, vectorised=True, overlapped=False), 1, "+vectorisation"),
    "+ two buffers": (lambda shape: by_dma(shape, vectorised=True, overlapped=True), 1, "+LDM"),
    "+ register communication, blocking": (
        lambda shape: on_the_mesh(shape, schedule="compiler-macros"), 1, "+register comm/blocking"
    ),
    "+ instructions scheduled by hand": (on_the_mesh, 1, "+instruction scheduling"),
    "+ four core groups": (on_the_mesh, 4, "+4 CG"),
}  # fmt: skip
small = convolution(2, 3, channels=16, batch=16)
display(
    table(
        ["step", "largest error"],
        [
            [name, f"{launches_error([Launch.of(kernel(small))], processor=chip):.1e}"]
            for name, (kernel, _, _) in STEPS.items()
        ],
    )
)

# %% [markdown]
# All seven compute the convolution: what errors there are, relative to the largest number, come from adding up in
# another order.
#
# Now the times, of 128 images with 128 input and output channels and 8 × 32 output pixels. Loading straight from
# memory takes so long that four pixels have to do.

# %%
PIXELS = (8, 32)
published = {row.inputs["step"]: row.measured for row in read_tables(names=["conv_optimisation_ladder_fp64"])[0].rows}


def run(kernel, groups=1, chip=chip, pixels=PIXELS):
    """A launch on each of ``groups``, which share out the rows: rate, seconds by reason, the timing."""
    rows, columns = pixels
    memory = MemoryUse(mode="shared" if groups > 1 else "private", active=groups)
    timing = simulate(kernel(convolution(rows // groups, columns)), processor=chip, memory=memory)
    segment = launch_segment(timing=timing, processor=chip, launch_seconds=chip.mpe.launch_seconds)
    return groups * timing.flops / segment.seconds / 1e9, segment, timing


runs = {
    name: run(kernel, groups, pixels=(1, 4) if kernel is direct else PIXELS)
    for name, (kernel, groups, _) in STEPS.items()
}
share_of_peak = {name: 1e9 * runs[name][0] / groups / peak for name, (_, groups, _) in STEPS.items()}
display(
    table(
        ["step", "GFLOPS", "of the peak", "published GFLOPS"],
        [
            [
                name,
                f"{rate:,.0f}" if rate > 1 else f"{rate:.2f}",
                f"{share_of_peak[name]:.1%}" if rate > 1 else f"{share_of_peak[name]:.2%}",
                f"{published[STEPS[name][2]]:,.0f}" if STEPS[name][2] else "",
            ]
            for name, (rate, _, _) in runs.items()
        ],
    )
)

# %% [markdown]
# The published image was larger (64 × 64 pixels), so these need not agree to the last digit; `taihusim validate
# --table conv_optimisation_ladder_fp64` takes the whole image.
#
# **Where does the time go?** The simulator divides every CPE's time among reasons. One of them is computing, which is
# more than multiplying and adding: an instruction may wait for its operands, and operands have to be loaded from the
# LDM. What the multiply-adds would take at the peak rate is therefore drawn separately.

# %%
PARTS = ("multiply-adds at peak", "other cycles of the CPEs' pipelines", "waiting for memory", "mesh, CPEs, launch")
COLOURS = ("#009E73", "#E69F00", "#0072B2", "#999999")


def parts(name):
    """Shares of a step's time, in the order of PARTS."""
    _, segment, _ = runs[name]
    share = {reason: seconds / segment.seconds for reason, seconds in segment.shares.items()}
    useful, computing, memory = share_of_peak[name], share["compute"], share["dma_wait"]
    return useful, max(computing - useful, 0), memory, 1 - max(computing, useful) - memory


names = list(runs)
figure, (rate_axes, share_axes) = plt.subplots(
    1, 2, figsize=(11, 3.9), sharey=True, layout="constrained", gridspec_kw={"width_ratios": (1, 1.15)}
)
for place, name in enumerate(names):
    rate, groups = runs[name][0], STEPS[name][1]
    rate_axes.plot(rate, place, "o", color="#0072B2", markersize=8, label="simulated" if place == 0 else None)
    measured = published.get(STEPS[name][2])
    if measured:
        rate_axes.plot(
            measured,
            place,
            "D",
            color="#D55E00",
            markersize=11,
            fillstyle="none",
            label="published" if place == 1 else None,
        )
    rate_axes.plot([groups * peak / 1e9] * 2, [place - 0.4, place + 0.4], color="#555555", linewidth=2)
    rate_axes.annotate(
        f"{rate:,.0f}" if rate > 1 else f"{rate:.2f}", (rate, place), xytext=(-12, 0), ha="right", va="center",
        textcoords="offset points",
    )  # fmt: skip
rate_axes.annotate(
    "peak of a core group", (peak / 1e9, -0.4), xytext=(4, 3), textcoords="offset points", ha="right", color="#555555"
)
rate_axes.annotate(
    "of four", (4 * peak / 1e9, 5.6), xytext=(4, 3), textcoords="offset points", ha="right", color="#555555"
)
rate_axes.set(xscale="log", xlim=(0.02, 6000), xlabel="GFLOPS")
rate_axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
rate_axes.set_yticks(range(len(names)), names)
rate_axes.grid(axis="x", color="#DDDDDD")
rate_axes.legend(loc="lower left", frameon=False)
rate_axes.set_title("How fast", loc="left")
starts = [0.0] * len(names)
for index, (part, colour) in enumerate(zip(PARTS, COLOURS, strict=True)):
    widths = [parts(name)[index] for name in names]
    bars = share_axes.barh(
        range(len(names)), widths, left=starts, color=colour, edgecolor="white", height=0.7, label=part
    )
    texts = [f"{width:.0%}" if width >= 0.055 else "" for width in widths]
    share_axes.bar_label(bars, texts, label_type="center", color="white", fontweight="bold")
    starts = [start + width for start, width in zip(starts, widths, strict=True)]
share_axes.invert_yaxis()
share_axes.set_xlim(0, 1)
share_axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
share_axes.set_xlabel("share of the time")
share_axes.set_title("Where the time goes", loc="left")
figure.legend(*share_axes.get_legend_handles_labels(), loc="outside lower right", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# Loading straight from memory, the CPEs do nothing but wait: every load moves a whole line of 128 bytes for 8 of
# them. DMA into the LDM ends that, and from then on the larger part of the time is spent *in the pipelines*. A
# faster memory would help little; better instructions help. Look inside.
#
# A CPE has two pipes: P0 computes, P1 loads, stores and communicates. Below are the inner loops, one column for each
# cycle. Where both halves are empty nothing could begin, as an operand was not there yet.

# %%
KINDS = {"multiply-add": "#009E73", "operand: load, send, receive": "#0072B2", "pointer, count, branch": "#999999"}


def kind(text):
    """Under which of KINDS an instruction comes."""
    word = text.split()[0]
    if "mad" in word:
        return "multiply-add"
    return "operand: load, send, receive" if "ld" in word or word[:3] in ("get", "put") else "pointer, count, branch"


def own_loop(vectorised):
    """A pass of the loop without register blocking: what entered P0 and P1 in each cycle."""
    loop = unblocked_loop(form="columns", vectorised=vectorised, lanes=chip.cpe.vector_lanes)
    log = issue_all(instructions=(*loop.head, *loop.body * 4), pipeline=chip.cpe.pipeline)
    begin, end = (log[len(loop.head) + times * len(loop.body)].cycle for times in (2, 3))
    issued = {(each.cycle, each.pipe.value): each.instruction.text for each in log}
    return [(issued.get((cycle, "P0")), issued.get((cycle, "P1"))) for cycle in range(begin, end)]


def mesh_loop(schedule):
    """A k-step of the CPE that sends on both buses, which holds all others."""
    rows = issue_table(
        processor=chip, schedule=SCHEDULES[schedule], role=ROLES["sender-sender"], dtype="fp64", part="loop"
    )
    return [(row.p0, row.p1) for row in rows]


loops = [  # words, issued instructions, multiply-adds
    ("scalar: 4 multiply-adds", own_loop(vectorised=False), 4),
    ("vectors: 4", own_loop(vectorised=True), 4),
    ("blocked, in C: 64", mesh_loop("compiler-macros"), 64),
    ("scheduled in 2016: 64", mesh_loop("swdnn-2016"), 64),
    ("scheduled in 2019: 64", mesh_loop("autotuned-2019"), 64),
]
figure, axes = plt.subplots(figsize=(11, 3.8), layout="constrained")
for place, (_, cycles, _) in enumerate(loops):
    for cycle, issued in enumerate(cycles):
        axes.add_patch(plt.Rectangle((cycle, place - 0.36), 1, 0.72, fill=False, edgecolor="#DDDDDD"))
        for pipe, text in enumerate(issued):
            if text:
                corner = (cycle + 0.06, place - 0.34 + 0.36 * pipe)
                axes.add_patch(plt.Rectangle(corner, 0.88, 0.32, color=KINDS[kind(text)]))
    axes.annotate(f"{len(cycles)} cycles", (len(cycles) + 0.4, place), va="center")
for pipe, text in enumerate(("P0 computes", "P1 loads, stores, communicates")):
    axes.annotate(text, (20, -0.16 + 0.36 * pipe), va="center", color="#555555")
axes.set(xlim=(0, 40), ylim=(len(loops) - 0.4, -0.6), xlabel="cycle")
axes.set_yticks(range(len(loops)), [words for words, _, _ in loops])
handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in KINDS.values()]
axes.legend(handles, KINDS, loc="lower right", frameon=False)
axes.set_title("One pass of the inner loop", loc="left")
plt.show()
display(
    table(
        ["loop", "cycles", "multiply-adds in a cycle", "of the peak of 4"],
        [
            [words, len(cycles), f"{done / len(cycles):.2f}", f"{done / len(cycles) / chip.cpe.vector_lanes:.0%}"]
            for words, cycles, done in loops
        ],
    )
)

# %% [markdown]
# - A vector does four multiply-adds at once, but the loop takes half as long, not a quarter: it waits as long for its
#   operands as one scalar does, and has nothing else to do meanwhile.
# - With 4 × 4 accumulators in registers, each operand is used four times, and 16 independent multiply-adds are there to
#   be done while operands come.
# - A compiler of the time leaves the loads before the arithmetic. By hand they go into the other pipe beside it.
#
# The scheduled loop of 2016 would allow 84 %, the step reaches 55 %. Between passes of the loop the sums have to be
# loaded and stored, and CPEs wait for one another. The library behind the published step also took three cycles more
# for each pass than the scoreboard finds; nobody has explained them, and they are a labelled number of the machine
# file (`swcaffe_2018_k_step_residual`).
#
# **And memory?** Register communication does a second thing. CPEs that share nothing each bring their own copies.

# %%
balance = peak / (chip.dma.line_bytes / chip.dma.line_seconds)
rows = []
for name, (_, _, timing) in runs.items():
    moved = timing.get_bytes + timing.put_bytes
    rows.append(
        [
            name,
            f"{moved / timing.flops:.3f}" if moved < timing.flops else f"{moved / timing.flops:.1f}",
            f"{timing.flops / moved:.3g}",
            f"{chip.dma.line_bytes * timing.dma_lines / moved:.2f}",
        ]
    )
display(
    table(["step", "bytes moved per operation", "operations per byte", "bytes of lines per byte used"], rows),
    Markdown(f"To keep its CPEs busy a core group must do {balance:.0f} operations with every byte that it moves."),
)

# %% [markdown]
# Before the mesh is used, no schedule could reach the peak: each byte that comes is used too seldom. On the mesh a byte
# comes to one CPE by DMA, and the other seven of its row or column have it from there.
#
# **What if?** The simulator answers for chips that do not exist. Which step gains from memory lines that move twice
# as fast, which from operations with half the latency, which from twice the LDM? Guess before you run the cell.

# %%
CHIPS = {
    "lines in half the time": ("processor.dma.line_time=2.375ns", "processor.memory.bandwidth=68.2GB/s"),
    "half the latency": (
        "processor.cpe.pipeline.floating=4cycles",
        "processor.cpe.pipeline.load=2cycles",
        "processor.cpe.pipeline.vector_load=2cycles",
    ),
    "128 KiB of LDM": ("processor.cpe.ldm=128KiB",),
}
rows = []
for name, (kernel, groups, _) in STEPS.items():
    if kernel is not direct:
        gains = [
            run(kernel, groups, chip=load_machine("sunway_taihulight", settings).processor)[0] / runs[name][0] - 1
            for settings in CHIPS.values()
        ]
        rows.append([name, *(f"{gain:+.0%}" for gain in gains)])
display(table(["step", *CHIPS], rows))

# %% [markdown]
# Code that waits for its operands gains from lower latency; blocked code hides it. Faster memory is
# worth most to the step that waits for memory most. A machine has no single bottleneck: a *program on* a machine has
# one.
#
# **Exercises.** Write down what you expect before you run anything.
#
# 1. Give `on_the_mesh` another library, `library="autotuned-2019"`, which has the last of the loops above and no
#    unexplained cycles. How much of the step from 22 cycles (19 and the three) to 16 arrives? What takes the rest?
# 2. Use 32 instead of 128 channels. Which steps lose most, and which of the parts in the figure grows?
# 3. `taihusim kernel conv2d --batch 128 --ni 128 --no 128 --ro 8 --co 32 --k 3 --core-groups 4` lets the tuner choose.
#    Which plan does it take, and why does it beat this one?
