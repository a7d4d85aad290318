"""A strategy: into how many parts layers and the network are cut; what ranks are left take other samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sim.problems import BadInput, Problem, nearest

KEYS: Final = ("tensor", "pipeline", "micro_batches", "optimizer_sharding")
EXAMPLE: Final = "data, tensor=4, or tensor=4,pipeline=8,micro_batches=32,optimizer_sharding"


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """``tensor`` ranks share every layer that can be divided, ``pipeline`` stages follow one another.

    All ranks beyond ``tensor`` · ``pipeline`` are further replicas (data parallelism). A replica's samples pass in
    ``micro_batches`` equal parts, by default as many as :meth:`parts_of` finds good. ``optimizer_sharding``: the
    replicas divide the optimiser's state and update among them (Rajbhandari et al. 2020, stage 1).
    """

    tensor: int = 1
    pipeline: int = 1
    micro_batches: int | None = None
    optimizer_sharding: bool = False

    @property
    def replica_ranks(self) -> int:
        """Ranks that compute the same samples."""
        return self.tensor * self.pipeline

    @property
    def is_data(self) -> bool:
        """True if there is nothing but replicas that each hold all of the network and of the optimiser's state."""
        return self.replica_ranks == 1 and (self.micro_batches or 1) == 1 and not self.optimizer_sharding

    def replicas(self, ranks: int) -> int:
        """Replicas on so many ranks. Raises BadInput if they cannot be shared equally."""
        if ranks % self.replica_ranks or ranks < self.replica_ranks:
            expected = (
                f"a multiple of {self.replica_ranks} ranks, as {self.tensor} ranks share a layer and "
                f"{self.pipeline} stages follow one another; change nodes, tensor or pipeline"
            )
            raise BadInput([Problem(file=f"strategy {self}", key="", value=ranks, expected=expected)])
        return ranks // self.replica_ranks

    def parts_of(self, samples: int, *, sharers: int = 1) -> int:
        """Micro-batches of a replica's samples: asked for, or up to four to a stage that divide them equally.

        Of these the one with which stages wait least and all ``sharers`` core groups that share a micro-batch have
        work: m of them keep P stages busy for m of m + P - 1 turns. Raises BadInput if the samples cannot be shared
        equally.
        """
        if self.micro_batches is None:
            most = 4 * self.pipeline if self.pipeline > 1 else 1
            counts = [count for count in range(1, min(most, samples) + 1) if samples % count == 0]
            return max(counts, key=lambda count: self._used(samples // count, count, sharers))
        if samples % self.micro_batches:
            divisors = [count for count in range(1, samples + 1) if samples % count == 0]
            near = min(divisors, key=lambda count: abs(count - self.micro_batches))  # type: ignore[operator]
            expected = f"a divisor of the {samples:,} samples of a replica, such as {near}"
            raise BadInput(
                [Problem(file=f"strategy {self}", key="micro_batches", value=self.micro_batches, expected=expected)]
            )
        return self.micro_batches

    def _used(self, samples: int, parts: int, sharers: int) -> float:
        """The part of a stage's core groups that works, for ``parts`` micro-batches of ``samples`` samples."""
        return parts / (parts + self.pipeline - 1) * samples / (-(-samples // sharers) * sharers)

    def settings(self) -> tuple[str, ...]:
        """The settings of a mapping that mean this strategy."""
        parts = "null" if self.micro_batches is None else str(self.micro_batches)
        sharding = str(self.optimizer_sharding).lower()
        values = (str(self.tensor), str(self.pipeline), parts, sharding)
        return tuple(f"{key}={value}" for key, value in zip(KEYS, values, strict=True))

    def __str__(self) -> str:
        """As on the command line."""
        found = [f"{key}={getattr(self, key)}" for key in ("tensor", "pipeline") if getattr(self, key) > 1]
        if self.micro_batches is not None:
            found.append(f"micro_batches={self.micro_batches}")
        if self.optimizer_sharding:
            found.append("optimizer_sharding")
        return ",".join(found) or "data"


def parse_strategy(text: str) -> Strategy:
    """A strategy from words such as ``tensor=4,pipeline=8``; ``data`` alone is data parallelism.

    Raises BadInput with a problem for every word that is wrong.
    """
    values: dict[str, int | bool] = {}
    problems: list[Problem] = []
    for word in (part.strip() for part in text.split(",")):
        key, equals, value = word.partition("=")
        if word == "data":
            continue
        if key not in KEYS:
            problems.append(_problem(word, f"words such as {EXAMPLE}", nearest(key, ("data", *KEYS))))
        elif key in values:
            problems.append(_problem(word, f"{key} only once"))
        elif key == "optimizer_sharding":
            if equals and value not in ("true", "false"):
                problems.append(_problem(word, "optimizer_sharding, or with =true or =false"))
            values[key] = value != "false"
        elif not value.isdecimal() or int(value) < 1:
            problems.append(_problem(word, f"{key}=N with a whole number from 1 on"))
        else:
            values[key] = int(value)
    if problems:
        raise BadInput(problems)
    return Strategy(**values)  # type: ignore[arg-type]


def strategy_settings(settings: Sequence[str]) -> list[str]:
    """Settings of a mapping with those of ``strategy=WORDS`` in the place of the words.

    Raises BadInput as :func:`parse_strategy`.
    """
    found: list[str] = []
    for setting in settings:
        key, equals, words = setting.partition("=")
        found += parse_strategy(words).settings() if equals and key.strip() == "strategy" else [setting]
    return found


def _problem(word: str, expected: str, near: str | None = None) -> Problem:
    return Problem(file="--strategy", key="", value=word, expected=expected, nearest=near)
