import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from deeprob.data.frame import Frame
from deeprob.data.readers.reading import (
    Frames,
    find_images,
    fingerprint,
    list_folder,
    read_ahead,
    read_image,
    read_plane,
    read_text,
)
from deeprob.errors import InputError


def frame(index: int) -> Frame:
    if index % 4 == 3:
        raise InputError(f"frame {index} is bad")
    return Frame(np.zeros((2, 2, 3), np.uint8), (), "test", str(index), "0")


def test_png_comes_back_pixel_for_pixel_as_rgb(tmp_path: Path, draw) -> None:
    expected = draw(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_grey_image_becomes_three_equal_channels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.arange(12, dtype=np.uint8).reshape(3, 4))
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (3, 4, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_exif_orientation_is_applied(tmp_path: Path, draw) -> None:
    draw(tmp_path / "a.jpg", width=40, height=30)
    content = (tmp_path / "a.jpg").read_bytes()
    # Big-endian TIFF with one entry: orientation (0x0112), SHORT, 1 value, 6 = turn by 90 degrees.
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    )
    segment = b"Exif\x00\x00" + tiff
    exif = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    (tmp_path / "a.jpg").write_bytes(content[:2] + exif + content[2:])
    assert read_image(tmp_path / "a.jpg").shape == (40, 30, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 0.999))
def test_every_truncation_is_refused(tmp_path: Path, draw, suffix: str, part: float) -> None:
    path = tmp_path / f"cut{suffix}"
    draw(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=f"cut{suffix}"):
        read_image(path)


def test_jpeg_cut_inside_its_thumbnail_is_refused(tmp_path: Path, draw) -> None:
    draw(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    thumbnail = (
        b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    )  # holds an end marker of its own
    whole = content[:2] + thumbnail + content[2:]
    (tmp_path / "a.jpg").write_bytes(whole)
    assert read_image(tmp_path / "a.jpg").shape == (30, 40, 3)
    (tmp_path / "a.jpg").write_bytes(whole[:-2])
    with pytest.raises(InputError, match="truncated JPEG"):
        read_image(tmp_path / "a.jpg")


def test_flipped_bit_in_a_png_is_refused(tmp_path: Path, draw) -> None:
    draw(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="wrong checksum"):
        read_image(tmp_path / "a.png")


def test_png_header_of_a_gigapixel_is_refused_before_decoding(tmp_path: Path) -> None:
    import zlib

    header = b"IHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\x00" * 100)
    with pytest.raises(InputError, match="60000 x 60000"):
        read_image(tmp_path / "bomb.png")


def test_16_bit_image_is_refused_where_8_are_due(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((3, 4, 3), 3000, np.uint16))
    with pytest.raises(InputError, match="16-bit"):
        read_image(tmp_path / "deep.png")


def test_plane_keeps_16_bits_and_refuses_colour(tmp_path: Path, draw) -> None:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
    cv2.imwrite(str(tmp_path / "depth.png"), depth)
    np.testing.assert_array_equal(read_plane(tmp_path / "depth.png"), depth)
    draw(tmp_path / "colour.png")
    with pytest.raises(InputError, match="3 channels"):
        read_plane(tmp_path / "colour.png")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_one_line_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "über uns.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"über uns\.jpg") as caught:
        read_image(tmp_path / "über uns.jpg")
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_in_its_place_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_image(path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0 0.5 \xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_text(tmp_path / "a.txt")


def test_frames_raise_at_the_bad_one_and_go_on_after_it() -> None:
    frames = Frames(range(6), frame)
    with pytest.raises(InputError, match="frame 3 is bad"):
        list(frames)
    assert frames[4].key == "4"


def test_skipping_leaves_out_bad_frames_and_counts_each_once() -> None:
    frames = Frames(range(10), frame, "skip")
    for _ in range(2):
        assert [f.key for f in frames] == ["0", "1", "2", "4", "5", "6", "8", "9"]
    assert frames.skipped == ["frame 3 is bad", "frame 7 is bad"]


def test_reading_ahead_keeps_the_order_and_the_gaps() -> None:
    keys = [f and f.key for f in read_ahead(Frames(range(70), frame, "skip"), num_threads=2)]
    assert keys == [None if i % 4 == 3 else str(i) for i in range(70)]


def test_reading_ahead_raises_what_reading_raises() -> None:
    with pytest.raises(InputError, match="frame 3 is bad"):
        list(read_ahead(Frames(range(6), frame), num_threads=2))


def test_images_are_found_sorted_once_and_through_links(tmp_path: Path, draw) -> None:
    for name in ["b/2.PNG".lower(), "b/1.jpg", "a/ä ö.png"]:
        draw(tmp_path / "set" / name)
    (tmp_path / "set/b/notes.txt").write_text("")
    draw(tmp_path / "elsewhere/3.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "set/c")
    os.symlink(tmp_path / "set", tmp_path / "set/a/loop")
    found = [p.relative_to(tmp_path / "set").as_posix() for p in find_images(tmp_path / "set")]
    assert found == ["a/ä ö.png", "b/1.jpg", "b/2.png", "c/3.png"]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_label_map_with_a_palette_is_read_as_its_indices(tmp_path: Path, bits: int) -> None:
    labels = (np.arange(40) % 2**bits).astype(np.uint8).reshape(5, 8)
    image = Image.fromarray(labels).convert("P")
    image.putdata(labels.ravel().tolist())
    image.putpalette([value for i in range(256) for value in (i * 37 % 256, 255 - i, 7)])
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.png"), labels)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_mask_saved_in_colour_is_its_grey(tmp_path: Path, channels: int) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 8), np.uint8)
    image = np.repeat(grey[..., None], channels, axis=2)
    image[..., 3:] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.png"), grey)


def test_a_picture_is_no_plane(tmp_path: Path, draw) -> None:
    draw(tmp_path / "a.png")
    with pytest.raises(InputError, match="image of 3 channels; expected one channel"):
        read_plane(tmp_path / "a.png")


def test_fingerprint_changes_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    before = fingerprint("x", path)
    assert before == fingerprint("x", path)
    path.write_text("12")
    assert before != fingerprint("x", path)


def test_fingerprint_of_a_folder_changes_with_a_file_written_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = fingerprint(tmp_path)
    folder_time = tmp_path.stat().st_mtime_ns
    with (tmp_path / "a").open("r+") as file:
        file.write("12")
    assert tmp_path.stat().st_mtime_ns == folder_time
    assert before != fingerprint(tmp_path)


def test_folder_that_cannot_be_listed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be listed"):
        list_folder(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be listed"):
        list(find_images(tmp_path / "none"))


def test_what_tools_leave_behind_is_no_part_of_a_data_set(tmp_path: Path, readers, draw) -> None:
    for name, folder in (("folder", "train/cat"), ("darknet", "2019a/r1"), ("bop", "train_pbr/000000/rgb")):
        reader, root = readers[name], tmp_path / name
        reader.build(root)
        keys = [frame.key for frame in reader.open(root).frames(reader.split)]
        image = next(path for path in sorted((root / folder).iterdir()) if path.suffix in (".png", ".jpg"))
        (root / folder / f"._{image.name}").write_bytes(b"\x00\x05\x16\x07")
        draw(root / folder / ".ipynb_checkpoints" / f"copy{image.suffix}")
        draw(root / Path(folder).parent / "__MACOSX" / f"copy{image.suffix}")
        assert [frame.key for frame in reader.open(root).frames(reader.split)] == keys
