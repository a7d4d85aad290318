"""Images in folders: found at once, decoded when asked for, cut the same way for the same key."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sim.problems import BadInput
from workloads.datasets.image_folder import Cut, ImageFolder, load_image_folders, scan
from workloads.datasets.storage import stored_folder

Image = pytest.importorskip("PIL.Image")
Bytes = npt.NDArray[np.uint8]


def picture(seed: int, *, height: int, width: int) -> Bytes:
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("val", 1)):
        for label, name in enumerate(("n01", "n02")):
            for number in range(count):
                pixels = picture(10 * label + number, height=12, width=9 + number)
                save(tmp_path / part / name / f"{number}.png", pixels)
    (tmp_path / "train" / "n01" / "notes.txt").write_text("no image")
    return tmp_path


def test_files_and_classes_are_found_in_order_without_decoding(root: Path) -> None:
    (root / "train" / "n02" / "1.png").write_bytes(b"not decoded yet")
    folders = load_image_folders(root)
    assert folders.train.class_names == ("n01", "n02")
    assert list(folders.train.labels) == [0, 0, 0, 1, 1, 1]
    assert [file.name for file in folders.train.files] == ["0.png", "1.png", "2.png"] * 2
    assert folders.train.file_bytes[4] == 15
    assert stored_folder(folders.test).bytes_per_sample == folders.test.file_bytes.mean()
    with pytest.raises(BadInput, match=r"1\.png: expected a whole JPEG or PNG image"):
        folders.train.check()


def test_the_middle_is_cut_out_without_resizing_where_the_shorter_side_fits(root: Path) -> None:
    folder = load_image_folders(root).train
    images = folder.centre([0, 4], cut=Cut(resize=9, size=5))
    np.testing.assert_array_equal(images[0], picture(0, height=12, width=9)[4:9, 2:7])
    assert images.shape == (2, 5, 5, 3)
    assert images.dtype == np.uint8


def test_the_shorter_side_is_resized_and_the_shape_kept(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 240, 6, dtype=np.uint8)[:, np.newaxis, np.newaxis], 3, axis=2)
    save(tmp_path / "wide" / "a.png", np.broadcast_to(ramp.transpose(1, 0, 2), (20, 40, 3)).copy())
    found = scan(tmp_path).centre([0], cut=Cut(resize=10, size=10))[0]
    # 40 columns become 20, each the mean of about two; the middle ten of them are left
    np.testing.assert_allclose(found[5, :, 0], np.arange(10) * 12.0 + 63, atol=2)
    assert np.ptp(found[..., 1], axis=0).max() == 0


def test_grey_and_jpeg_files_become_three_channels(tmp_path: Path) -> None:
    save(tmp_path / "c" / "grey.png", np.full((6, 6), 77, np.uint8))
    save(tmp_path / "c" / "smooth.JPEG", np.full((8, 6, 3), (200, 100, 50), np.uint8))
    images = scan(tmp_path).centre([0, 1], cut=Cut(resize=6, size=6))
    assert (images[0] == 77).all()
    np.testing.assert_allclose(images[1].astype(int), np.broadcast_to((200, 100, 50), (6, 6, 3)), atol=4)


def test_random_squares_follow_key_and_draw_alone(root: Path) -> None:
    folder = load_image_folders(root).train
    cut = Cut(resize=9, size=4)
    draws = np.arange(100)
    numbers = np.zeros(100, dtype=np.int64)
    images = folder.random(numbers, cut=cut, key=3, draws=draws)
    np.testing.assert_array_equal(images[7:9], folder.random([0, 0], cut=cut, key=3, draws=[7, 8]))
    assert not np.array_equal(images, folder.random(numbers, cut=cut, key=4, draws=draws))
    whole = picture(0, height=12, width=9)
    squares = {whole[y : y + 4, x : x + 4].tobytes(): (y, x) for y in range(9) for x in range(6)}
    plain = [squares.get(each.tobytes()) for each in images]
    mirrored = [squares.get(each[:, ::-1].tobytes()) for each in images]
    assert all((a is None) != (b is None) for a, b in zip(plain, mirrored, strict=True))
    assert 30 <= sum(each is None for each in plain) <= 70
    assert {each[0] for each in (*plain, *mirrored) if each is not None} == set(range(9))


def test_damaged_images_are_all_named(root: Path) -> None:
    jpeg = root / "train" / "n02" / "3.jpg"
    save(jpeg, picture(5, height=40, width=40))
    jpeg.write_bytes(jpeg.read_bytes()[:-200])
    png = root / "train" / "n01" / "2.png"
    png.write_bytes(png.read_bytes()[:60])
    folder = scan(root / "train")
    for images in (
        lambda: folder.centre(range(len(folder)), cut=Cut(resize=9, size=9)),
        lambda: folder.random(range(len(folder)), cut=Cut(resize=9, size=9), key=0, draws=range(len(folder))),
        folder.check,
    ):
        with pytest.raises(BadInput) as caught:
            images()
        assert [problem.file for problem in caught.value.problems] == [str(png), str(jpeg)]
    png.unlink()
    with pytest.raises(BadInput, match=r"2\.png: expected a file that exists"):
        folder.centre([2], cut=Cut(resize=9, size=9))


def test_wrong_folders_are_refused_in_words(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (root / "train" / "n03").mkdir()
    (root / "train" / "n01" / "empty.png").touch()
    with pytest.raises(BadInput) as caught:
        load_image_folders(root)
    assert "n03: expected images (.jpeg, .jpg, .png), at least one" in str(caught.value)
    assert "empty.png: expected an image, not an empty file" in str(caught.value)
    (root / "train" / "n01" / "empty.png").unlink()
    save(root / "train" / "n03" / "a.png", picture(0, height=4, width=4))
    with pytest.raises(BadInput, match="the same classes in train and test, found 'n03'"):
        load_image_folders(root)
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(BadInput) as caught:
        load_image_folders(other)
    assert len(caught.value.problems) == 2
    (other / "train").mkdir()
    (other / "test").mkdir()
    with pytest.raises(BadInput, match="one folder for each class"):
        load_image_folders(other)
    with pytest.raises(BadInput, match="nowhere: expected a folder that exists"):
        load_image_folders(other / "nowhere")


def test_a_square_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="cut out of at least 8, not 7"):
        Cut(resize=7, size=8)


def test_without_pillow_the_error_names_the_extra(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: ImageFolder = scan(root / "train")
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("PIL"):
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"taihusim\[data\]"):
        folder.centre([0], cut=Cut(resize=9, size=9))
