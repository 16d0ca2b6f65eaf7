"""Recordings of robots: ROS 1 .bag, ROS 2 .db3 and MCAP, read by rosbags without ROS.

Images are sensor_msgs/Image (raw) and sensor_msgs/CompressedImage; a camera's matrix is the K of the
sensor_msgs/CameraInfo beside it. The stamp of a frame is that of its header.
Format: https://docs.ros.org/en/rolling/p/sensor_msgs
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.deploy.given import Given, frame_of
from deeprob.errors import InputError

RAW, COMPRESSED, INFO = (f"sensor_msgs/msg/{kind}" for kind in ("Image", "CompressedImage", "CameraInfo"))
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,  # OpenCV names the second row's first two pixels
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
YUV = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}


@dataclass(frozen=True)
class Bag:
    """The images of one topic. K: (3, 3) where the bag says none."""

    name: str
    path: Path
    topic: str
    every: int
    messages: int
    K: NDArray[np.float64] | None
    seconds: float
    keys: Sequence[str] | None = None

    @classmethod
    def open(cls, path: Path, topic: str | None, every: int, K: NDArray[np.float64] | None) -> Bag:
        """Open a recording. topic: of its images; None: the only one. Raises InputError."""
        with _reader(path) as reader:
            images = {c.topic: c.msgcount for c in reader.connections if c.msgtype in (RAW, COMPRESSED)}
            seconds = reader.duration * 1e-9
        chosen = next(iter(images)) if topic is None and len(images) == 1 else topic or ""
        if chosen not in images:
            there = ", ".join(sorted(images)) or "none of images"
            what = f"no topic {topic} of images" if topic else f"{len(images)} topics of images"
            raise InputError(what, where=path, expected=f"topic= one of: {there}")
        if not images[chosen]:
            raise InputError(f"no message in {chosen}", where=path)
        return cls(path.stem, path, chosen, every, images[chosen], K, seconds)

    @property
    def count(self) -> int:
        return -(-self.messages // self.every)

    @property
    def rate(self) -> float:
        return max(self.count / self.seconds, 1.0) if self.seconds > 0 else 25.0

    def given(self, start: int) -> Iterator[Given]:
        with _reader(self.path) as reader:
            infos = [c for c in reader.connections if c.msgtype == INFO and _beside(c.topic, self.topic)]
            images = [c for c in reader.connections if c.topic == self.topic]
            info = next(_messages(self.path, reader, infos), None) if infos else None
            K = self.K if info is None or self.K is not None else _matrix(reader.deserialize(info[2], INFO))
            for number, (connection, stamp, raw) in enumerate(_messages(self.path, reader, images)):
                if number % self.every == 0 and number // self.every >= start:
                    yield self._read(reader, connection, stamp, raw, number, K)

    def _read(
        self, reader: Any, connection: Any, stamp: int, raw: bytes, number: int, K: NDArray[np.float64] | None
    ) -> Given:
        key, where = f"{number:08d}", f"{self.path} {self.topic} message {number}"
        try:
            message = reader.deserialize(raw, connection.msgtype)
            taken = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            decode = raw_image if connection.msgtype == RAW else compressed_image
            frame = frame_of(decode(message, where), self.name, key, K)
        except InputError as error:
            return Given(key, None, stamp, str(error))
        except Exception as error:  # the library has an error of its own for each layer of a message
            return Given(key, None, stamp, f"{where}: cannot be read ({error})")
        return Given(key, frame, taken or stamp)


def _matrix(info: Any) -> NDArray[np.float64] | None:
    """K of a CameraInfo, (3, 3); None where nobody calibrated the camera: all zeros."""
    K = np.asarray(getattr(info, "k", getattr(info, "K", ())), np.float64)
    return K.reshape(3, 3) if K.size == 9 and K[0] > 0 else None


def raw_image(message: Any, where: str) -> NDArray[np.uint8]:
    """The pixels of a sensor_msgs/Image, uint8 (H, W, 3) RGB. Raises InputError for an unknown encoding."""
    encoding, height, width, step = message.encoding, message.height, message.width, message.step
    rows = np.asarray(message.data, np.uint8)
    bytes_of_pixel = CHANNELS.get(encoding, 1 if encoding in BAYER else 2 if encoding in YUV else 0)
    if not bytes_of_pixel:
        known = ", ".join([*CHANNELS, *BAYER, *YUV])
        raise InputError(f"encoding {encoding!r}", where=where, expected=f"one of {known}")
    if height < 1 or step < width * bytes_of_pixel or rows.size < height * step or width < 1:
        raise InputError(f"{rows.size} bytes for {width} x {height} pixels, {step} a row", where=where)
    rows = rows[: height * step].reshape(height, step)[:, : width * bytes_of_pixel]
    if encoding in BAYER:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), BAYER[encoding]), np.uint8)
    pixels = np.ascontiguousarray(rows).reshape(height, width, bytes_of_pixel)
    if encoding in YUV:
        return np.asarray(cv2.cvtColor(pixels, YUV[encoding]), np.uint8)
    if bytes_of_pixel == 1:
        return np.repeat(pixels, 3, axis=2)
    colours = pixels[..., :3]
    return np.ascontiguousarray(colours if encoding.startswith("rgb") else colours[..., ::-1])


def compressed_image(message: Any, where: str) -> NDArray[np.uint8]:
    """The pixels of a sensor_msgs/CompressedImage (JPEG, PNG), uint8 (H, W, 3) RGB. Raises InputError."""
    image = cv2.imdecode(np.asarray(message.data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"format {message.format!r} cannot be decoded", where=where, expected="jpeg or png")
    return np.asarray(image[..., ::-1], np.uint8)


def _reader(path: Path) -> Any:
    """A reader of rosbags. Raises InputError where it is not installed, or the file is no recording."""
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise InputError("bags need rosbags", where=path, fix="pip install 'deeprob[ros]'") from None
    try:
        return _Opened(path, AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)))
    except Exception as error:  # the library has an error of its own for each format
        raise InputError(f"not a recording that can be read ({error})", where=path) from None


class _Opened:
    """A reader while it is open; what it cannot read is one line."""

    def __init__(self, path: Path, reader: Any) -> None:
        self.path, self.reader = path, reader

    def __enter__(self) -> Any:
        try:
            return self.reader.__enter__()
        except Exception as error:
            raise InputError(f"not a recording that can be read ({error})", where=self.path) from None

    def __exit__(self, *error: object) -> None:
        self.reader.close()


def _messages(path: Path, reader: Any, connections: list[Any]) -> Iterator[tuple[Any, int, bytes]]:
    """The messages in order; a recording that breaks off ends with one line."""
    messages = reader.messages(connections=connections)
    while True:
        try:
            found = next(messages, None)
        except Exception as error:
            raise InputError(f"the recording breaks off ({error})", where=path) from None
        if found is None:
            return
        yield found


def _beside(topic: str, of: str) -> bool:
    """Whether a topic of CameraInfo is that of a topic of images: camera/camera_info of camera/image_raw."""
    return topic.rpartition("/")[0] in (of.rpartition("/")[0], of.rpartition("/")[0].rpartition("/")[0])
