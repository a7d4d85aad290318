"""Who sends and who receives in a step of the mesh GEMM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """Whether a CPE broadcasts its part of A along its row, and its part of B along its column."""

    row_sender: bool
    column_sender: bool

    @property
    def name(self) -> str:
        """For example ``sender-receiver``: sender on the row, receiver on the column."""
        return f"{_word(self.row_sender)}-{_word(self.column_sender)}"


def _word(sends: bool) -> str:
    return "sender" if sends else "receiver"


ROLES = {role.name: role for role in (Role(row, column) for row in (True, False) for column in (True, False))}


def role_at(*, row: int, column: int, step: int) -> Role:
    """In step t column t sends along the rows and row t along the columns (SWDNN17 Fig. 3)."""
    return Role(row_sender=column == step, column_sender=row == step)
