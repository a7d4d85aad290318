"""The keys of a workload file: what is to be computed, in three sections, model, data and recipe."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, StrictBool, create_model

from nnlib.models.schema import EVERY_KIND, Kinds, Section, model_keys
from nnlib.optim.rate import Scaling, ScheduleName
from sim.machine.quantity import Count, Whole
from workloads.datasets.names import DatasetName, MeasureName, Unit

CountOrZero = Annotated[int, Whole(least=0)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, gt=0, le=1)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(strict=True, ge=0, lt=1)]
Entry = TypeVar("Entry")


def _not_empty(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    # not min_length: pydantic counts only the entries that are right, and would complain twice about a wrong one
    if not entries:
        raise ValueError("at least one entry")
    return entries


class SplitKeys(Section):
    """``data.split``: how many samples train and test, and the seed that chooses them."""

    train: Count
    test: Count
    seed: CountOrZero = 0


class AugmentationKeys(Section):
    """``data.augmentation``: random shifts of up to ``max_shift`` pixels in x and y, and every other image mirrored."""

    max_shift: CountOrZero = 0
    mirror: StrictBool = False


class CutKeys(Section):
    """``data.cut``: images of any size are resized to a shorter side of ``resize``, then cut to ``size`` × ``size``."""

    resize: Count = 256
    size: Count = 224


class StormsKeys(Section):
    """``data.storms``: generated fields of ``height`` × ``width`` pixels with storms in them."""

    height: Count = 48
    width: Count = 48
    channels: Count = 16
    frames: Count = 4
    spacing: Count = 24
    strength: Positive = 2.0
    rivers: StrictBool = False


class TonesKeys(Section):
    """``data.tones``: generated recordings of ``fewest`` to ``most`` tones, each ``shortest`` to ``longest`` frames."""

    registers: Count = 4
    fewest: Count = 2
    most: Count = 6
    shortest: Count = 4
    longest: Count = 9
    longest_gap: CountOrZero = 3
    noise: NotNegative = 0.25


class TextKeys(Section):
    """``data.text``: generated texts of ``length`` characters or words."""

    unit: Unit = "characters"
    length: Count = 64


class MaskedTextKeys(Section):
    """``data.masked_text``: two pieces of generated text with words left out, ``length`` symbols together."""

    length: Count = 32


class StoredKeys(Section):
    """``data.stored``: what a sample takes on storage, where that is not what the data set itself has."""

    bytes_per_sample: Positive
    files: Count = 1
    packed: StrictBool = False
    audio: StrictBool = False
    source: Annotated[str, Field(min_length=1)]


class DataKeys(Section):
    """``data``: where samples come from, and what is done to their values: times scale, less mean, over deviation."""

    dataset: DatasetName
    path: Annotated[str, Field(min_length=1)] | None = None
    split: SplitKeys
    augmentation: AugmentationKeys = AugmentationKeys()
    scale: Positive = 1.0
    mean: Annotated[tuple[Finite, ...], AfterValidator(_not_empty)] | None = None
    deviation: Annotated[tuple[Positive, ...], AfterValidator(_not_empty)] | None = None
    cut: CutKeys | None = None
    storms: StormsKeys | None = None
    tones: TonesKeys | None = None
    text: TextKeys | None = None
    masked_text: MaskedTextKeys | None = None
    stored: StoredKeys | None = None


class SgdKeys(Section):
    """``recipe.optimizer`` for stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: BelowOne = 0.0
    nesterov: StrictBool = False


class LarsKeys(Section):
    """``recipe.optimizer`` for layer-wise adaptive rates."""

    name: Literal["lars"]
    momentum: BelowOne = 0.9
    trust: Positive = 0.001


class AdamKeys(Section):
    """``recipe.optimizer`` for Adam."""

    name: Literal["adam"]
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    epsilon: Positive = 1e-8


class AdamWKeys(Section):
    """``recipe.optimizer`` for Adam with decoupled weight decay."""

    name: Literal["adamw"]
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    epsilon: Positive = 1e-8


class LambKeys(Section):
    """``recipe.optimizer`` for layer-wise adaptive moments."""

    name: Literal["lamb"]
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    epsilon: Positive = 1e-6


OptimizerKeys = Annotated[SgdKeys | LarsKeys | AdamKeys | AdamWKeys | LambKeys, Field(discriminator="name")]


class ClipKeys(Section):
    """``recipe.clip``: the largest ``norm`` of all gradients together, or the largest ``value`` of each number."""

    norm: Positive | None = None
    value: Positive | None = None


class LearningRateKeys(Section):
    """``recipe.learning_rate``: ``base`` at ``at_batch`` samples per step, and how it follows batch and step.

    The schedules ``linear``, ``cosine`` and ``polynomial`` (of ``power``) fall over ``decay_steps`` to
    ``final_fraction`` of the highest rate; ``step`` multiplies by ``factor`` every ``decay_steps``, ``exponential``
    evenly by as much in so many, ``multi_step`` at each of the steps ``milestones``.
    """

    base: Positive
    at_batch: Count
    scaling: Scaling = "none"
    cap: Positive | None = None
    warmup_steps: CountOrZero = 0
    schedule: ScheduleName = "constant"
    decay_steps: Count | None = None
    final_fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    power: Positive = 1.0
    factor: Share = 0.1
    milestones: tuple[CountOrZero, ...] = ()


class AlternativeKeys(Section):
    """An entry of ``recipe.alternatives``: another optimiser and, where it needs one, its own learning rate."""

    optimizer: OptimizerKeys
    learning_rate: LearningRateKeys | None = None


class RecipeKeys(Section):
    """``recipe``: how the model is trained, whatever it runs on."""

    batch_per_node: Count
    optimizer: OptimizerKeys
    learning_rate: LearningRateKeys
    alternatives: tuple[AlternativeKeys, ...] = ()
    weight_decay: NotNegative = 0.0
    decay_vectors: StrictBool = True
    clip: ClipKeys | None = None
    until_accuracy: Share | None = None
    until_measure: Positive | None = None
    measure: MeasureName | None = None
    max_steps: Count
    evaluate_every: Count = 1


class WorkloadFile(Section):
    """A whole workload file, whose model is whatever: :func:`workload_file` says what it may be."""

    title: Annotated[str, Field(min_length=1)]
    model: Any
    data: DataKeys
    recipe: RecipeKeys


@cache
def workload_file(kinds: Kinds = EVERY_KIND) -> type[WorkloadFile]:
    """A whole workload file whose model has no other kinds of layers, losses or models."""
    return create_model(
        "WorkloadFile", __base__=WorkloadFile, __doc__="A whole workload file.", model=(model_keys(kinds), ...)
    )
