"""Images in recordings of robots."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install 'deeprob[ros]'")

from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from deeprob.deploy.bags import Bag, compressed_image, raw_image
from deeprob.deploy.inputs import open_input
from deeprob.errors import InputError

KINDS = ("ros1", "db3", "mcap")
IMAGES = np.random.default_rng(0).integers(256, size=(4, 6, 8, 3), dtype=np.uint8)
K = np.array([[300.0, 0, 4], [0, 310, 3], [0, 0, 1]])
START = 1_700_000_000_000_000_000


def record(kind, path):
    """Four pictures, raw and as PNG, with the camera's matrix. Returns what to open."""
    types = get_typestore(Stores.ROS1_NOETIC if kind == "ros1" else Stores.ROS2_HUMBLE)
    if kind == "ros1":
        writer = rosbag1.Writer(path / "one.bag")
    else:
        plugin = rosbag2.StoragePlugin[{"db3": "SQLITE3", "mcap": "MCAP"}[kind]]
        writer = rosbag2.Writer(path / kind, version=9, storage_plugin=plugin)
    make = {
        name.rpartition("/")[2]: of
        for name, of in types.types.items()
        if name.startswith(("sensor_msgs", "std_msgs/msg/Header", "builtin_interfaces/msg/Time"))
    }
    serialise = types.serialize_ros1 if kind == "ros1" else types.serialize_cdr
    with writer:
        topics = {
            "image_raw": "Image",
            "image_raw/compressed": "CompressedImage",
            "camera_info": "CameraInfo",
        }
        connections = {
            topic: writer.add_connection(f"/camera/{topic}", make[message].__msgtype__, typestore=types)
            for topic, message in topics.items()
        }
        for number, image in enumerate(IMAGES):
            stamp = START + number * 10**8
            time = make["Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
            header = make["Header"](stamp=time, frame_id="", **({"seq": 0} if kind == "ros1" else {}))
            _, png = cv2.imencode(".png", image[..., ::-1])
            lower = {"d": np.zeros(5), "k": K.ravel(), "r": np.zeros(9), "p": np.zeros(12)}
            calibration = {name.upper() if kind == "ros1" else name: value for name, value in lower.items()}
            region = make["RegionOfInterest"](0, 0, 0, 0, False)
            about = {"header": header, "height": 6, "width": 8}
            messages = {
                "image_raw": make["Image"](
                    **about, encoding="rgb8", is_bigendian=0, step=24, data=image.ravel()
                ),
                "image_raw/compressed": make["CompressedImage"](header, "png", png.ravel()),
                "camera_info": make["CameraInfo"](
                    **about, distortion_model="", binning_x=0, binning_y=0, roi=region, **calibration
                ),
            }
            for topic, message in messages.items():
                writer.write(connections[topic], stamp + 7, serialise(message, message.__msgtype__))
    return path / "one.bag" if kind == "ros1" else path / kind


@pytest.mark.parametrize("topic", ["/camera/image_raw", "/camera/image_raw/compressed"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_stamps_and_the_cameras_matrix_are_read(kind, topic, tmp_path):
    bag = open_input(str(record(kind, tmp_path)), topic=topic)
    assert bag.count == 4
    given = list(bag.given(1))
    assert [one.stamp_ns for one in given] == [START + n * 10**8 for n in (1, 2, 3)]
    assert [one.key for one in given] == ["00000001", "00000002", "00000003"]
    np.testing.assert_array_equal([one.item.image for one in given], IMAGES[1:])
    np.testing.assert_array_equal(given[0].item.K, K)


def test_a_file_of_a_recording_alone_will_do(tmp_path):
    record("mcap", tmp_path)
    bag = open_input(str(tmp_path / "mcap/mcap.mcap"), topic="/camera/image_raw", every=3)
    assert [one.key for one in bag.given(0)] == ["00000000", "00000003"]


def test_a_topic_that_is_not_there_is_one_line_that_says_which_are(tmp_path):
    path = record("db3", tmp_path)
    there = "expected topic= one of: /camera/image_raw, /camera/image_raw/compressed"
    with pytest.raises(InputError, match=f"no topic /camera/info of images; {there}"):
        Bag.open(path, "/camera/info", 1, None)
    with pytest.raises(InputError, match=f"2 topics of images; {there}"):
        Bag.open(path, None, 1, None)


@pytest.mark.parametrize("name", ["x.bag", "x.mcap", "x.db3"])
def test_what_is_no_recording_is_one_line(name, tmp_path):
    (tmp_path / name).write_bytes(b"no recording of anything, but as long as a header of one would be" * 9)
    with pytest.raises(InputError, match=f"{name}: not a recording that can be read"):
        open_input(str(tmp_path / name))


def message(encoding, pixels, padding=0):
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        encoding=encoding, height=height, width=width, step=rows.shape[1], data=rows.ravel()
    )


@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", IMAGES[0], IMAGES[0]),
        ("bgr8", IMAGES[0][..., ::-1], IMAGES[0]),
        ("rgba8", np.pad(IMAGES[0], ((0, 0), (0, 0), (0, 1))), IMAGES[0]),
        ("bgra8", np.pad(IMAGES[0][..., ::-1], ((0, 0), (0, 0), (0, 1))), IMAGES[0]),
        ("mono8", IMAGES[0][..., 0], np.repeat(IMAGES[0][..., :1], 3, 2)),
    ],
)
def test_encodings(encoding, pixels, expected):
    np.testing.assert_array_equal(raw_image(message(encoding, pixels, padding=5), ""), expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_pattern_keeps_its_colours(pattern):
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    found = raw_image(message(f"bayer_{pattern}8", np.tile(tile, (4, 4))), "")
    assert found[3, 3].tolist() == [200, 120, 40]


def test_yuv_keeps_its_brightness():
    grey = np.full((2, 4, 2), 128, np.uint8)
    grey[..., 1] = 235  # U Y V Y: white
    assert (raw_image(message("yuv422", grey), "") > 250).all()


def test_an_encoding_that_is_not_known_is_one_line():
    with pytest.raises(InputError, match="bag: encoding '32FC1'; expected one of rgb8"):
        raw_image(message("32FC1", IMAGES[0]), "bag")


def test_a_message_that_lacks_bytes_is_one_line():
    short = message("rgb8", IMAGES[0])
    short.data = short.data[:50]
    with pytest.raises(InputError, match="50 bytes for 8 x 6 pixels"):
        raw_image(short, "bag")
    with pytest.raises(InputError, match="format 'jpeg' cannot be decoded"):
        compressed_image(SimpleNamespace(format="jpeg", data=np.zeros(9, np.uint8)), "bag")
