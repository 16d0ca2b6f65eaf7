from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeprob.data.readers.image_headers import exif_turns, has_palette, palette_indices, wrong_size


def save(path: Path, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("orientation", "turns"), [(None, False), (1, False), (3, False), (6, True), (8, True)]
)
def test_an_orientation_may_swap_width_and_height(
    tmp_path: Path, orientation: int | None, turns: bool
) -> None:
    assert exif_turns(save(tmp_path / "a.jpg", orientation)) == turns


def test_a_file_that_is_no_image_turns_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert not exif_turns(tmp_path / "a.jpg")


def test_a_size_that_is_wrong_otherwise_does_not_blame_exif(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", 6)
    assert "EXIF" in str(wrong_size((40, 30, 3), (30, 40), path, "labels"))
    assert "EXIF" not in str(wrong_size((40, 30, 3), (30, 41), path, "labels"))


def test_only_a_png_with_a_palette_has_indices(tmp_path: Path) -> None:
    labels = np.array([[3, 0], [1, 2]], np.uint8)
    image = Image.fromarray(labels)
    image.save(tmp_path / "grey.png")
    image = image.convert("P")
    image.putdata(labels.ravel().tolist())
    image.save(tmp_path / "palette.png")
    assert not has_palette(tmp_path / "grey.png")
    assert has_palette(tmp_path / "palette.png")
    np.testing.assert_array_equal(palette_indices(tmp_path / "palette.png"), labels)
