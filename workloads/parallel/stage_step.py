"""One stage's step: its passes of all micro-batches, its messages, and when each bucket of gradients is ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from sim.chip.processor import Segment
from workloads.jobs.gradients import reduced_statistics
from workloads.parallel.late_ranks import Late, Passes
from workloads.parallel.lowered import LoweredStrategy
from workloads.parallel.pipeline_times import Seconds, StageSeconds
from workloads.parallel.stage_gradients import GradientEnd
from workloads.parallel.stage_work import Bucket, Message, StageWork

Tally = list[tuple[int, Sequence[Segment]]]
"""Launches, and how often each of them happens."""


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """``work`` of ``stage`` for each of the micro-batches of ``lowered``, and what follows them (``end``)."""

    lowered: LoweredStrategy
    end: GradientEnd
    stage: int
    work: StageWork

    @cached_property
    def buckets(self) -> list[Bucket]:
        """Gradients that are packed together."""
        return self.end.buckets(self.work.blobs)

    @cached_property
    def accumulation(self) -> list[Segment]:
        """For each bucket adding a micro-batch's gradients to those before it; none if there is but one."""
        if self.lowered.micro_batches == 1:
            return []
        return [self.end.accumulation(bucket) for bucket in self.buckets]

    @cached_property
    def sums(self) -> list[list[Segment]]:
        """For each bucket the sum over the core groups of the node."""
        return [self.lowered.timer.sum_groups(bucket.elements) for bucket in self.buckets]

    @cached_property
    def sum_seconds(self) -> float:
        """The sums of all buckets."""
        return sum(segment.seconds for parts in self.sums for segment in parts)

    @cached_property
    def launched(self) -> Tally:
        """All launches up to the gradients."""
        parts = self.lowered.micro_batches
        return [
            (parts, [*self.work.forward, *self.work.backward]),
            (parts - 1, self.accumulation),
            *((1, each) for each in self.sums),
        ]

    @cached_property
    def exchange_seconds(self) -> float:
        """What tensor ranks exchange in a step."""
        return self.lowered.micro_batches * (self.work.forward_exchange + self.work.backward_exchange)

    @cached_property
    def messages(self) -> tuple[tuple[float, int], tuple[float, int]]:
        """Seconds and bytes of the message to the next stage, and of the one that comes back."""
        stages, samples, times = self.lowered.stages, self.lowered.samples, self.end.times
        following = self.stage + 1
        if following == stages.count:
            return (0.0, 0), (0.0, 0)
        there = samples * stages.crossing_elements(self.stage)
        back = samples * stages.returning_elements(self.stage)
        return (
            times.handed_on(source=self.stage, destination=following, elements=there),
            times.handed_on(source=following, destination=self.stage, elements=back),
        )

    @property
    def moved_bytes(self) -> int:
        """Bytes that all ranks of the stage exchange and hand on in a step."""
        (_, there), (_, back) = self.messages
        return self.lowered.micro_batches * (self.work.exchanged_bytes + there + back)

    def passes(self, update: Sequence[Segment], *, once: float) -> Passes:
        """What a rank computes in a step with its ``update`` and ``once`` seconds besides."""
        tally = [*self.launched, (1, update)]
        return Passes(
            forward=self.work.forward_seconds - self.work.forward_exchange,
            backward=self.work.backward_seconds - self.work.backward_exchange,
            step=once + sum(number * segment.seconds for number, several in tally for segment in several),
            micro_batches=self.lowered.micro_batches,
        )

    def seconds(self, late: Late | None = None) -> StageSeconds:
        """As the pipeline sees the stage, whose replicas may be ``late``."""
        (send, _), (give_back, _) = self.messages
        return StageSeconds(
            forward=self.work.forward_seconds + (0.0 if late is None else late.forward),
            backward=self.work.backward_seconds + (0.0 if late is None else late.backward),
            accumulate=sum(segment.seconds for segment in self.accumulation),
            send=send,
            give_back=give_back,
        )

    def ready(self, begin: Seconds) -> Iterator[Message]:
        """What is sent, and when it is ready, if the last backward pass's launches begin at ``begin``.

        Adding up the buckets before puts off the later ones.
        """
        apart, behind = self.end.times.scheme.packing == "blobs", 0.0
        for number, (bucket, parts) in enumerate(zip(self.buckets, self.sums, strict=True)):
            behind += self.accumulation[number].seconds if self.accumulation else 0.0
            behind += sum(segment.seconds for segment in parts)
            yield from bucket.messages(begin + bucket.blobs[-1].ready_seconds + behind, apart=apart)

    def sent(self, begin: Seconds) -> list[Message]:
        """The same, and what the library of 2018 reduces of normalisation layers, if it is that."""
        found, stages = list(self.ready(begin)), self.lowered.stages
        mapping = self.lowered.timer.mapping
        if mapping.packing != "blobs" or mapping.communication != "swcaffe-2018" or not found:
            return found
        names = (full for node in stages.nodes(self.stage) for full in stages.graph.variable_names[node.name].values())
        sizes = [prod(stages.graph.statistics[name]) for name in names if name in stages.graph.statistics]
        kept = reduced_statistics(sizes, parts=len(found))
        return [
            each
            for message, more in zip(found, kept, strict=True)
            for each in (message, *(replace(message, name="", elements=size, returned=False) for size in more))
        ]
