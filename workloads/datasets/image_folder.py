"""Images in folders, one folder for each class, as ImageNet's are: looked up at once, decoded when asked for.

``ROOT/train/CLASS/*.JPEG`` are learned from and ``ROOT/val/CLASS/*.JPEG`` (or ``test``) judge. Pillow decodes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sim.problems import BadInput, Problem
from workloads.datasets.counter import Counter
from workloads.datasets.reading import bad_file, require_folder

SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
TEST_FOLDERS = ("val", "test")
Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Numbers: TypeAlias = Sequence[int] | Integers


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How an image of any size becomes ``size`` × ``size`` pixels: its shorter side is resized to ``resize``, then a
    square is cut out. Raises ValueError when the square is larger than that."""

    resize: int = 256
    size: int = 224

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.resize:
            raise ValueError(f"a square of {self.size} pixels is cut out of at least {self.size}, not {self.resize}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder:
    """The files of one part in the order of their names, their classes (n,) and their sizes (n,) in bytes."""

    files: tuple[Path, ...]
    labels: Integers
    file_bytes: Integers
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def centre(self, numbers: Numbers, *, cut: Cut) -> Bytes:
        """The middles of the images of these numbers: (n, size, size, 3).

        Raises BadInput with every file that is no whole image; ModuleNotFoundError where Pillow is missing.
        """
        shares = np.full((len(numbers), 2), 0.5)
        return self._decoded(numbers, cut, shares, np.zeros(len(numbers), dtype=bool))

    def random(self, numbers: Numbers, *, cut: Cut, key: int, draws: Numbers) -> Bytes:
        """Squares at random places of the images of these numbers, every other one mirrored: (n, size, size, 3).

        Place and mirroring follow from ``key`` and from ``draws`` (n,), the sample's place in the stream: the same
        image comes differently with each draw. Raises as ``centre`` does.
        """
        counter = Counter(seed=key)
        order = np.asarray(draws, dtype=np.int64)
        mirrored = counter.uniform("mirror", order) < 0.5
        return self._decoded(numbers, cut, counter.uniform("place", order, 2), mirrored)

    def check(self) -> None:
        """Decodes every file once. Raises BadInput with all that are no whole image."""
        problems = [problem for path in self.files if isinstance(problem := _decode(path), Problem)]
        if problems:
            raise BadInput(problems)

    def _decoded(
        self,
        numbers: Numbers,
        cut: Cut,
        shares: npt.NDArray[np.float64],
        mirrored: npt.NDArray[np.bool_],
    ) -> Bytes:
        result = np.empty((len(numbers), cut.size, cut.size, 3), dtype=np.uint8)
        problems: list[Problem] = []
        for place, (number, share, mirror) in enumerate(zip(numbers, shares, mirrored, strict=True)):
            image = _decode(self.files[number], shorter_side=cut.resize)
            if isinstance(image, Problem):
                problems.append(image)
                continue
            free = np.array(image.shape[:2]) - cut.size
            top, left = np.floor(share * (free + 1)).astype(int)
            square = image[top : top + cut.size, left : left + cut.size]
            result[place] = square[:, ::-1] if mirror else square
        if problems:
            raise BadInput(problems)
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolders:
    """The images to learn from and those to be judged by, of the same classes."""

    train: ImageFolder
    test: ImageFolder


def load_image_folders(root: Path) -> ImageFolders:
    """The files of ``root/train`` and ``root/val`` or ``root/test``; nothing is decoded.

    Raises BadInput when a folder is missing or empty, a file is empty, or the two parts have different classes.
    """
    require_folder(root)
    found = [name for name in TEST_FOLDERS if (root / name).is_dir()]
    problems: list[Problem] = []
    if not (root / "train").is_dir():
        problems.append(bad_file(root, "a folder with the folder train"))
    if not found:
        problems.append(bad_file(root, f"a folder with the folder {' or '.join(TEST_FOLDERS)}"))
    parts = []
    for name in ("train", *found[:1]):
        if (root / name).is_dir():
            try:
                parts.append(scan(root / name))
            except BadInput as error:
                problems.extend(error.problems)
    if problems:
        raise BadInput(problems)
    train, test = parts
    if train.class_names != test.class_names:
        missing = sorted(set(train.class_names) ^ set(test.class_names))
        raise BadInput([bad_file(root, "the same classes in train and test", value=", ".join(missing))])
    return ImageFolders(train=train, test=test)


def scan(folder: Path) -> ImageFolder:
    """The images in the folders of ``folder``; the folders' names in order are the classes 0, 1, ...

    Raises BadInput when there is no folder, when one has no image, or when a file is empty.
    """
    require_folder(folder)
    names = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if not names:
        raise BadInput([bad_file(folder, "a folder with one folder for each class")])
    files: list[Path] = []
    labels: list[int] = []
    problems: list[Problem] = []
    for label, name in enumerate(names):
        own = sorted(each for each in (folder / name).iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
        if not own:
            problems.append(bad_file(folder / name, f"images ({', '.join(sorted(SUFFIXES))}), at least one"))
        files.extend(own)
        labels.extend([label] * len(own))
    sizes = np.array([each.stat().st_size for each in files], dtype=np.int64)
    problems.extend(bad_file(files[each], "an image, not an empty file") for each in np.flatnonzero(sizes == 0))
    if problems:
        raise BadInput(problems)
    return ImageFolder(
        files=tuple(files), labels=np.array(labels, dtype=np.int64), file_bytes=sizes, class_names=tuple(names)
    )


def _decode(path: Path, *, shorter_side: int | None = None) -> Any:
    """The image as bytes (height, width, 3), or the problem with it."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        text = "images in folders are decoded by Pillow: install it with `pip install 'taihusim[data]'`"
        raise ModuleNotFoundError(text, name=error.name) from error
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as opened:
            image = opened.convert("RGB")  # grey and CMYK files are in ImageNet, too
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        if not path.is_file():
            return bad_file(path, "a file that exists")
        return bad_file(path, "a whole JPEG or PNG image, not one cut off or damaged")
    if shorter_side is not None:
        width, height = image.size
        scale = shorter_side / min(width, height)
        size = max(shorter_side, round(width * scale)), max(shorter_side, round(height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)
