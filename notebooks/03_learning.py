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
# # Learning: data with known answers, and how few bits are enough
#
# A simulator that really computes can be asked what a network *learns* on a machine, not only how fast a step is. For
# that one needs data of which it is known how well they can be learned, and numbers of the width that the machine
# would use. Both are here.
#
# The data of the first part are made by a generator: recordings in which tones glide up or down. Which tone sounds
# cannot be seen in a single moment, as the two tones of a register pass through the same pitches.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from taihusim.infer import InferRequest, infer
from taihusim.options import Settings
from taihusim.setup import prepare
from taihusim.train import train
from taihusim.training_run import TrainRequest
from workloads.checkpoint import save_weights
from workloads.datasets.baselines import fit_softmax
from workloads.datasets.metrics import collapsed, label_error_rate
from workloads.words import seconds_in_words

plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True})


def table(columns, rows):
    """A table: the first column on the left, the others on the right."""
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return Markdown("\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines))


def learn(workload, *mapping, **recipe):
    """Train on one node by the workload's recipe, changed by ``recipe``: the setup, the result, the weights."""
    settings = Settings(workload=tuple(f"recipe.{key}={value}" for key, value in recipe.items()))
    setup = prepare(workload=workload, settings=settings, mapping_flags=mapping)
    (run,) = train(setup, TrainRequest(nodes=(1,)))
    return setup, run.result, run.parameters


tones = prepare(workload="tones").workload.data.generator
heard = tones.generate(np.arange(300))
count = heard.lengths[0]
figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
axes.imshow(heard.frames[0, :count].T, aspect="auto", origin="lower", cmap="Greys")
for begin in np.flatnonzero(np.diff(heard.alignment[0, :count], prepend=0)):
    if tone := heard.alignment[0, begin]:
        axes.annotate(f"{tone}", (begin, 15.6), color="#D55E00", ha="center", va="top", fontweight="bold")
axes.set(xlabel="frame", ylabel="frequency")
axes.set_title("One recording, and the tones that begin", loc="left")
plt.show()

# %% [markdown]
# A test recording is written down as a row of tone numbers. The *label error rate* counts how many of them have to be
# inserted, deleted or replaced.
#
# First what is linear: softmax regression of single frames, taught which tone sounds in each. Then a network of two
# convolutions over five frames, which is told only which tones occur, not when (connectionist temporal
# classification). It has far fewer steps here than the recipe of the workload gives it.

# %%
inside = np.arange(tones.time) < heard.lengths[:, np.newaxis]
linear = fit_softmax(heard.frames[inside], heard.alignment[inside], classes=tones.classes)
fresh = tones.generate(np.arange(1000, 1200))
labels, counts = collapsed(linear.classes(fresh.frames), fresh.lengths)
by_frame = label_error_rate(labels, counts, fresh.labels, fresh.counts)
setup, result, _ = learn("tones", "precision=fp32", max_steps=150, evaluate_every=15)
figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
axes.plot(
    [1e3 * point["seconds"] for point in result["curve"]],
    [point["measured"] for point in result["curve"]],
    "o-",
    color="#0072B2",
    label="two convolutions",
)
axes.axhline(by_frame, color="#999999", linestyle="--", label="single frames")
axes.set(xlabel="simulated milliseconds", ylabel="label error rate", ylim=(0, None))
axes.legend(frameon=False)
plt.show()
display(
    Markdown(
        f"Single frames: {by_frame:.0%} errors. The network: {result['measured']:.0%} after {result['steps']} steps, "
        f"which the node would compute in {seconds_in_words(result['seconds_total'])}."
    )
)

# %% [markdown]
# With more errors than labels, the linear model does worse than silence: it finds tones of both directions in every
# glide. What the network knows comes from looking at neighbouring frames, and the generator guarantees that nothing
# else helps.
#
# **How many bits?** The chip computes in fp64, and fp32 halves what has to be moved. Narrower still are integers with
# a fixed point: here weights of 16 bits, 6 of them behind the point. An update smaller than half a step, 1/128, is
# *lost* when it is rounded to nearest. Rounded up or down by chance, in proportion, it survives on average.

# %%
fixed = ("precision=int16", "weight_fraction_bits=6", "master_copy=false")
WAYS = {
    "fp64": ("precision=fp64",),
    "fp32": ("precision=fp32",),
    "int16, to nearest": (*fixed, "rounding=nearest"),
    "int16, stochastic": (*fixed, "rounding=stochastic"),
}
runs = {
    name: learn("digits", *way, batch_per_node=16, max_steps=200, evaluate_every=40, until_accuracy=0.999)
    for name, way in WAYS.items()
}
figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
for (name, (_, run, _)), colour in zip(runs.items(), ("#999999", "#0072B2", "#D55E00", "#009E73"), strict=True):
    points = run["curve"]
    axes.plot([p["samples"] for p in points], [p["accuracy"] for p in points], "o-", color=colour, label=name)
axes.set(xlabel="samples", ylabel="test accuracy")
axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
axes.legend(frameon=False)
plt.show()
display(
    table(
        ["numbers", "accuracy", "simulated time of a step"],
        [
            [name, f"{run['test_accuracy']:.1%}", seconds_in_words(run["seconds_per_step"])]
            for name, (_, run, _) in runs.items()
        ],
    )
)

# %% [markdown]
# fp64 and fp32 learn alike. Rounding to nearest learns next to nothing. Chance makes the same 16 bits about as good as
# fp64 in so short a run; a *master copy* of the weights in full width does so, too (exercise 1).
#
# The times say something else. Half the bytes of fp32 save next to nothing in a network this small, where starting
# kernels takes most of a step. And int16 takes longer than fp64: the CPEs have no multiply-add of integers, so the
# products run in fp64, and three more kernels behind each layer find the step, round and convert.
#
# **Integers for answers** are another matter: weights are trained in fp64, and a few training samples decide the steps
# of the activations.

# %%
rows = []
save_weights(runs["fp64"][2], Path("weights.npz"))
for precision in ("fp64", "int16", "int8"):
    setup = prepare(workload="digits", mapping_flags=[f"precision={precision}"])
    answer = infer(setup, InferRequest(nodes=(1,), weights=Path("weights.npz")))
    rows.append([precision, f"{answer.accuracy:.1%}", seconds_in_words(answer.points[0]["seconds_per_batch"])])
display(table(["numbers", "accuracy", "simulated time of a batch"], rows))

# %% [markdown]
# Eight bits lose at most about a point: answers do not accumulate small updates.
#
# **Exercises.** Write down what you expect before you run anything.
#
# 1. Give the third and fourth way `master_copy=true`. Which of the two gains more, and why?
# 2. `weight_fraction_bits` is 6 here. Try 8, the default, and 12 with rounding to nearest. What is gained, and what
#    could be lost in a network with large weights?
# 3. On 16 nodes a step has 16 times as many samples: `train(setup, TrainRequest(nodes=(16,)))`. Does the label error
#    rate of the tones fall faster by *time*? By *samples*?
# 4. Make the recordings noisier with `--set workload.data.tones.noise=0.5`. Which of the two models suffers?
