"""Downloads of public data sets: resumable, checked before they are unpacked, never outside their folder."""

from __future__ import annotations

import hashlib
import os
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from deeprob.errors import InputError
from deeprob.writing import DISK, make_folder, naming

_DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
_BOP = "https://huggingface.co/datasets/bop-benchmark/{0}/resolve/main/{0}_{1}.zip"
_BOP_TEST = {  # the archive of test images of each set
    **dict.fromkeys(("lm", "lmo", "tudl", "icbin", "itodd", "ycbv", "hope"), "test_all"),
    **dict.fromkeys(("tless", "hb"), "test_primesense_all"),
}
_BOP_FOLDER = {"tless": "test_primesense", "hb": "test_primesense"}  # where it unpacks to; others: test
_UNPACKED_LIMIT = 2**40
_RATIO_LIMIT = 200  # no archive of images or arrays shrinks further; a bomb does
_MEMBERS_LIMIT = 1_000_000  # a disk has room for so many files, and no more where all are empty
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """One file to download.

    folder: what is there below the data folder afterwards; where it stands already, there is nothing to do.
    into: where it is unpacked, below the data folder. top: the folder it holds, where that is not `folder`.
    md5: of the archive; None where its publisher names none. inner: an archive inside it, unpacked too.
    """

    file: str
    url: str
    folder: str
    into: str = "."
    top: str | None = None
    md5: str | None = None
    inner: str | None = None
    inner_md5: str | None = None


ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "props_classification": (
        Archive(
            "Progress-Objects-Sample.tar.gz",
            _DRIVE.format("1C8_JFsnPVm392C-S1rH0y4HFfNkdMlXi"),
            "props/Progress-Objects-Sample",
            into="props",
            md5="b32c587684bb54a9f918b6b081a18e28",
        ),
    ),
    "props_detection": (
        Archive(
            "PROPS-Detection-Dataset.tar.gz",
            _DRIVE.format("1vG7_O-1JcYAgixdnV_n0QuFCt2R0050j"),
            "props/PROPS-Detection-Dataset",
            into="props",
            md5="225d557f4980bd3e999d93411c3bebe6",
            inner="props/PROPS-Detection-Dataset/PROPS-Detection.tar.gz",
            inner_md5="edb9252acb907894a478e8e1dc244da1",
        ),
    ),
    "props_pose": (
        Archive(
            "PROPS-Pose-Dataset.tar.gz",
            _DRIVE.format("15rhwXhzHGKtBcxJAYMWJG7gN7BLLhyAq"),
            "props/PROPS-Pose-Dataset",
            into="props",
            md5="a0c39fe326377dacd1d652f9fe11a7f4",
        ),
    ),
    "robocup_msl": (
        Archive(
            "robocup_ml-main.zip",
            "https://github.com/andrepool/robocup_ml/archive/refs/heads/main.zip",
            "robocup_msl",
            top="robocup_ml-main",
        ),
    ),
}


def fetched_by(name: str | None) -> str | None:
    """Return the command that fetches the data set of a name in configs/data, None where there is none."""
    known = name if name in ARCHIVES else f"bop:{name}" if name in _BOP_TEST else None
    return f"fetch it: deeprob fetch {known}" if known else None


Report = Callable[[str, int, int | None], None]  # what is done, bytes so far, bytes in all where known


def archives(name: str) -> tuple[Archive, ...]:
    """Look up what a data set is made of; `bop:<name>` is one of the BOP challenge, models and test set."""
    if name.startswith("bop:"):
        bop = name.removeprefix("bop:")
        if bop not in _BOP_TEST:
            raise InputError(f"no BOP data set {bop!r}", expected=", ".join(_BOP_TEST))
        root = f"bop/{bop}"
        parts = (
            ("base", "bop", root),
            ("models", root, f"{root}/models"),
            (_BOP_TEST[bop], root, f"{root}/{_BOP_FOLDER.get(bop, 'test')}"),
        )
        return tuple(
            Archive(f"{bop}_{part}.zip", _BOP.format(bop, part), folder, into) for part, into, folder in parts
        )
    if name not in ARCHIVES:
        raise InputError(f"no data set {name!r}", expected=f"{', '.join(ARCHIVES)} or bop:<name>")
    return ARCHIVES[name]


def fetch(name: str, data_dir: Path, report: Report) -> list[Path]:
    """Download and unpack a data set below data_dir, and return its folders.

    What stands is left alone; a download that was stopped goes on where it was. Raises InputError where there
    is no network, saying how to put the files there by hand; for a wrong checksum; for an archive that is
    broken, would write outside data_dir, or unpacks to far more than it holds.
    """
    for archive in archives(name):
        path = data_dir / archive.file
        # While the archive stands, unpacking has not ended: it is deleted after the last member.
        if (data_dir / archive.folder).is_dir() and not path.exists() and not _part(path).exists():
            continue
        make_folder(data_dir)
        download(archive, data_dir, report)
        unpack(path, data_dir / archive.into, report)
        if archive.inner:
            inner = data_dir / archive.inner
            check_md5(inner, archive.inner_md5, report)
            unpack(inner, inner.parent, report)
        if archive.top:
            os.replace(data_dir / archive.top, data_dir / archive.folder)
        path.unlink()
    return [data_dir / archive.folder for archive in archives(name)]


def _part(path: Path) -> Path:
    """Name the part of a file that has been downloaded so far."""
    return path.with_name(f"{path.name}.part")


def download(archive: Archive, folder: Path, report: Report) -> Path:
    """Download one archive, or go on where an earlier download stopped, and check it."""
    path, part = folder / archive.file, _part(folder / archive.file)
    if not path.is_file():
        start = part.stat().st_size if part.is_file() else 0
        request = urllib.request.Request(archive.url, headers={"Range": f"bytes={start}-"} if start else {})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                if start and response.status != 206:  # the server starts over
                    start = 0
                length = response.headers.get("Content-Length")
                total = start + int(length) if length and length.isdigit() else None
                with part.open("ab" if start else "wb") as file:
                    for size in _copy(response, file):
                        report(f"downloading {archive.file}", start + size, total)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in DISK:
                raise OSError(error.errno, error.strerror, str(part)) from error  # type: ignore[union-attr]
            reason = getattr(error, "reason", None) or error
            raise InputError(
                f"cannot be downloaded ({reason})",
                where=archive.file,
                fix=f"download {archive.url} in a browser, put it at {path} and run this again",
            ) from None
        if total is not None and part.stat().st_size != total:
            raise InputError(
                f"the download stopped after {part.stat().st_size} of {total} bytes",
                where=part,
                fix="run this again to go on",
            )
        os.replace(part, path)
    check_md5(path, archive.md5, report)
    return path


def check_md5(path: Path, md5: str | None, report: Report) -> None:
    """Compare a file's MD5 sum. Raises InputError where it is missing or differs, and moves it aside."""
    if not path.is_file():
        raise InputError("missing after unpacking", where=path)
    if md5 is None:
        return
    digest, size, total = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            report(f"checking {path.name}", size, total)
    if digest.hexdigest() != md5:
        bad = path.with_name(f"{path.name}.bad")
        os.replace(path, bad)
        raise InputError(
            f"MD5 {digest.hexdigest()}",
            where=path,
            expected=md5,
            fix=f"it was moved to {bad.name}; fetch it again",
        )


def unpack(path: Path, folder: Path, report: Report) -> None:
    """Unpack a .tar.gz or .zip: plain files and folders, inside `folder` only.

    Raises InputError for a broken archive, a member that is a link or a device or leads outside, and for an
    archive that unpacks to over 200 times its size or to over a million files.
    """
    limit = min(_UNPACKED_LIMIT, _RATIO_LIMIT * path.stat().st_size)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for number, entry in enumerate(archive.infolist()):
                    _check_number(number, path)
                    if entry.external_attr >> 28 == 0o12:
                        raise InputError(f"member {entry.filename[:80]!r} is a link", where=path)
                    if not entry.is_dir():
                        with archive.open(entry) as source:
                            limit = _extract(source, entry.filename, path, folder, limit, report)
        else:
            with tarfile.open(path, "r:*") as tar:
                for number, member in enumerate(tar):
                    tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
                    _check_number(number, path)
                    if not (member.isreg() or member.isdir()):
                        raise InputError(f"member {member.name[:80]!r} is no plain file", where=path)
                    content = tar.extractfile(member)
                    if content is not None:
                        limit = _extract(content, member.name, path, folder, limit, report)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError) or getattr(error, "errno", None) in DISK:
            raise
        raise InputError(
            f"broken archive ({error})", where=path, fix="delete it and fetch it again"
        ) from None


def _check_number(number: int, archive: Path) -> None:
    if number >= _MEMBERS_LIMIT:
        raise InputError(f"more than {_MEMBERS_LIMIT} members", where=archive, expected="no bomb")


def _extract(source: IO[bytes], name: str, archive: Path, folder: Path, limit: int, report: Report) -> int:
    """Write one member; returns how many bytes the archive may still unpack to."""
    relative = PurePosixPath(name.replace("\\", "/"))
    target = folder / relative
    inside = (
        not relative.is_absolute() and ".." not in relative.parts and ":" not in name and "\0" not in name
    )
    # A link that stood in the folder before could lead out as well.
    if not inside or not target.parent.resolve().is_relative_to(folder.resolve()) or target.is_symlink():
        raise InputError(f"member {name[:80]!r} leads outside the target folder", where=archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(target), target.open("wb") as file:
        size = 0
        for size in _copy(source, file):
            if size > limit:
                raise InputError("unpacks to over 200 times its size", where=archive, expected="no bomb")
            report(f"unpacking {archive.name}", size, None)
    return limit - size


def _copy(source: IO[bytes], file: IO[bytes]) -> Iterator[int]:
    """Copy piece by piece, and say how many bytes were copied so far."""
    size = 0
    while chunk := source.read(_CHUNK):
        file.write(chunk)
        size += len(chunk)
        yield size
