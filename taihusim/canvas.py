"""What all pictures share: an empty figure, its plain look and the file it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from workloads.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI: Final = 110
PLAIN: Final = "#555555"


def new_figure(size_inches: tuple[float, float]) -> Figure:
    """An empty figure that is drawn without a window.

    Raises ModuleNotFoundError saying what to install when matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        text = "figures are drawn with matplotlib: install it with `pip install 'taihusim[plot]'`"
        raise ModuleNotFoundError(text, name=error.name) from error
    figure = Figure(figsize=size_inches, dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all. Raises OSError as writing does."""
    with replaced(path) as file:
        figure.savefig(file, format="png")


def tidy(axes: Axes) -> None:
    """No box, a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
