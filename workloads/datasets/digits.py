"""The handwritten digits that come with scikit-learn: 1,797 real images of 8 × 8 pixels."""

from __future__ import annotations

import numpy as np

from workloads.datasets.dataset import Labelled


def load_digits() -> Labelled:
    """All images, (1797, 8, 8, 1) float64 with values 0 to 16, and their digits.

    Raises ModuleNotFoundError saying what to install when scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits as bundled
    except ModuleNotFoundError as error:
        text = "the digits dataset comes with scikit-learn: install it with `pip install 'taihusim[data]'`"
        raise ModuleNotFoundError(text, name=error.name) from error
    images, labels = bundled(return_X_y=True)
    return Labelled(
        images=np.ascontiguousarray(images, dtype=np.float64).reshape(-1, 8, 8, 1),
        labels=np.asarray(labels, dtype=np.int64),
    )
