"""What is said of a workload without building its network: enough to plan a run whose node steps are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from workloads.datasets.storage import GENERATED, StoredSample

if TYPE_CHECKING:  # who reads facts that are kept need not load what builds networks
    from workloads.spec import Workload


@dataclass(frozen=True, kw_only=True)
class WorkloadFacts:
    """``train_size`` samples to learn from, None without data; ``learns``: there is a loss to learn by.

    ``parameters``: numbers that training changes, for each of which the optimiser keeps ``optimiser_states`` more;
    ``statistics``: numbers that are kept but not learned. A sample has ``sample_numbers`` numbers for the network.
    The recipe is for steps of ``recipe_batch`` samples, ``batch_per_node`` of them on a node, and at most
    ``recipe_samples`` in all. ``stored``: what a sample takes on storage.
    """

    name: str
    title: str
    batch_per_node: int
    train_size: int | None
    dataset: str | None
    learns: bool
    parameters: int
    recipe_samples: int | None
    recipe_batch: int
    stored: StoredSample
    optimiser_states: int
    statistics: int
    sample_numbers: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def facts_of(fields: Mapping[str, Any]) -> WorkloadFacts:
    """The facts of :meth:`WorkloadFacts.as_json`. Raises TypeError for other values."""
    return WorkloadFacts(**{**fields, "stored": StoredSample(**fields["stored"])})


def workload_facts(workload: Workload) -> WorkloadFacts:
    """The facts of a workload, whose network is built for it."""
    from nnlib.update import state_kinds
    from workloads.datasets.planned import planned_storage

    data, model = workload.data, workload.model.built
    return WorkloadFacts(
        name=workload.name,
        title=workload.title,
        batch_per_node=workload.recipe.batch_per_node,
        train_size=None if data is None else data.train_size,
        dataset=None if data is None else data.dataset,
        learns=bool(model.losses),
        parameters=sum(prod(shape) for shape in model.graph.parameters.values()),
        recipe_samples=None if data is None else workload.recipe.max_steps * workload.recipe.learning_rate.at_batch,
        recipe_batch=workload.recipe.learning_rate.at_batch,
        stored=GENERATED if data is None else planned_storage(data),
        optimiser_states=len(state_kinds(workload.recipe.optimizer)),
        statistics=sum(prod(shape) for shape in model.graph.statistics.values()),
        sample_numbers=sum(prod(each.shape) for each in model.graph.inputs),
    )
