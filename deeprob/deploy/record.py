"""What is predicted of an input: a folder that grows frame by frame and can be gone on with.

    predict.json         what was asked for, and at the end what came of it
    frames.jsonl         a line a frame: key, stamp, size, and its entries; or why it was skipped
    predictions.json     of boxes (COCO); predictions.csv of poses (BOP) and classes; predictions/ of label
                         maps
    drawn/ or drawn.mp4  pictures with what is predicted drawn in them

A line is written after all that belongs to its frame, so a frame with a line is whole. A line cut off by a
kill or a full disk is taken back, and its frame predicted again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.data.predictions.outputs import Output
from deeprob.deploy.predictor import FramePredictions, frame_like
from deeprob.errors import InputError
from deeprob.records import check_record, listing, mapping, read_record, text
from deeprob.writing import atomic_file, make_folder, naming, sweep, write_json

if TYPE_CHECKING:
    from typing_extensions import Self

QUALITY = 92  # of drawn pictures, JPEG
ANEW = "choose another out=, or delete the folder"
_FACTS = mapping({"asked": mapping()}, needed=("asked",))
_LINE = mapping({"key": text, "skipped": text, "entries": listing(lambda entry, name: None)}, needed=("key",))


class Record:
    """The folder of one input's predictions, open for writing.

    asked: what must be the same to go on with it. Raises InputError where the folder holds something else, or
    another process writes there.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], output: Output) -> None:
        self.folder, self.asked, self.output = folder, dict(asked), output
        make_folder(folder)
        sweep(folder)
        self._check()
        self._file: IO[bytes] = open(self.frames, "a+b")  # noqa: SIM115  closed by `__exit__`
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InputError("another process writes here", where=folder, fix="choose another out=") from None
        self.count = self._take_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    @property
    def frames(self) -> Path:
        return self.folder / "frames.jsonl"

    @property
    def facts(self) -> Path:
        return self.folder / "predict.json"

    def _check(self) -> None:
        """Refuse a folder that holds other things, or other predictions."""
        if not self.facts.is_file():
            if any(self.folder.iterdir()):
                raise InputError(
                    "the folder holds other things", where=self.folder, fix="choose another out="
                )
            write_json(self.facts, {"asked": self.asked})
            return
        before = read_record(self.facts, _FACTS, ANEW)["asked"]
        for name, value in self.asked.items():
            if before.get(name, value) != value:  # an earlier version remembered less
                raise InputError(
                    f"predictions made with {name}={before.get(name)}, not {value}",
                    where=self.folder,
                    fix=ANEW,
                )

    def check_goes_on(self, keys: Sequence[str] | None) -> None:
        """Raise InputError where the input does not begin with the frames that are written.

        keys: of all its frames, as far as it knows them before. A folder may have got further pictures, which
        sort between the others.
        """
        for number, line in enumerate(self.lines()):
            if keys is not None and line["key"] != (keys[number] if number < len(keys) else None):
                raise InputError(
                    f"written of {line['key']}, which is not number {number + 1} of the input any more",
                    where=self.folder,
                    fix=ANEW,
                )

    def _take_back(self) -> int:
        """Drop a line that was cut off. Returns how many frames are written."""
        count = end = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            count, end = count + 1, end + len(line)
        self._file.truncate(end)
        return count

    def add(self, predicted: FramePredictions, picture: NDArray[np.uint8] | None = None) -> None:
        """Write a frame's predictions, and its picture."""
        frame, key = frame_like(predicted.given), predicted.given.key
        line: dict[str, Any] = {"key": key}
        if predicted.given.stamp_ns is not None:
            line["stamp_ns"] = predicted.given.stamp_ns
        if predicted.predictions is None:
            line["skipped"] = predicted.why
        else:
            line["size"] = list(frame.image.shape[:2])
            line["entries"] = self.output.entries(self.folder, self.count, frame, predicted.predictions)
        if picture is not None:
            encoded, buffer = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            assert encoded
            with atomic_file(self._drawn(key), "wb") as file:
                file.write(buffer.tobytes())
        with naming(self.frames):
            self._file.write(json.dumps(line).encode("utf-8") + b"\n")
            self._file.flush()
        self.count += 1

    def lines(self) -> Iterator[dict[str, Any]]:
        """What is written of each frame."""
        with open(self.frames, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(
                        f"broken ({error})", where=f"{self.frames} line {number}", fix=ANEW
                    ) from None
                check_record(value, _LINE, self.frames, ANEW)
                yield value

    def finish(self, rate: float | None, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Make the file of predictions, and the film where there are a rate and pictures."""
        os.fsync(self._file.fileno())
        counts = {"frames": 0, "skipped": 0, "predictions": 0}
        reasons: list[str] = []

        def entries() -> Iterator[Any]:
            for line in self.lines():
                counts["frames"] += 1
                if "skipped" in line:
                    counts["skipped"] += 1
                    reasons.append(line["skipped"]) if len(reasons) < 20 else None
                    continue
                counts["predictions"] += len(line["entries"])
                yield from line["entries"]

        self.output.finish(self.folder, entries())
        if rate is not None and (self.folder / "drawn").is_dir():
            self._film(rate)
        facts = {**counts, "first_reasons": reasons, "file": self.output.name, **extra}
        write_json(self.facts, {"asked": self.asked, "done": facts})
        return facts

    def _drawn(self, key: str) -> Path:
        path = PurePosixPath(key)
        return self.folder / "drawn" / path.with_name(f"{path.name}.jpg")

    def _film(self, rate: float) -> None:
        """Put the pictures into a film; all of the first one's size."""
        path = self.folder / "drawn.mp4"
        whole = self.folder / ".drawn.partial.mp4"
        writer: cv2.VideoWriter | None = None
        count = 0
        for line in self.lines():
            picture = cv2.imread(str(self._drawn(line["key"])))
            if picture is None:
                continue
            if writer is None:
                size = (
                    picture.shape[1] // 2 * 2,
                    picture.shape[0] // 2 * 2,
                )  # the codec takes even sides only
                writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                if not writer.isOpened():
                    raise InputError("OpenCV cannot write a video here", where=path)
            if picture.shape[1::-1] != size:
                picture = cv2.resize(picture, size)
            writer.write(picture)
            count += 1
        if writer is not None:
            writer.release()
            film = cv2.VideoCapture(str(whole))
            if film.get(cv2.CAP_PROP_FRAME_COUNT) != count:  # OpenCV says nothing of a full disk
                raise InputError(f"the {count} pictures in drawn/ do not fit into a film", where=path)
            os.replace(whole, path)
            shutil.rmtree(self.folder / "drawn")
