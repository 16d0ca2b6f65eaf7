"""Pascal VOC data sets: an XML file of boxes for each image.

    <root>/JPEGImages/2007_000027.jpg
    <root>/Annotations/2007_000027.xml      object: name, difficult, bndbox: xmin, ymin, xmax, ymax
    <root>/ImageSets/Main/train.txt         names of images, one a line

A box is its first and last pixel, counted from 1. Of sets without these folders (LabelImg, Roboflow), the XML
files lie beside the images.
Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import as_box
from deeprob.data.readers.files import FileSource, check_missing_labels, is_missing
from deeprob.data.readers.image_headers import wrong_size
from deeprob.data.readers.lists import Lists
from deeprob.data.readers.reading import OnBadSample, read_bytes, read_image, read_text
from deeprob.errors import InputError

_LARGEST = 2**24  # bytes of an annotation
_EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocImage:
    """One image and its annotation."""

    image: Path
    annotation: Path


class VocSource(FileSource[VocImage]):
    """Images with boxes in XML files.

    splits: for each split the name of its list in ImageSets/Main, or of a folder of images, or its share of
    all images: see lists.py. names_file: class names, one a line, relative to root; without one
    they are all that the annotations have, sorted (in VOC's own order). Objects marked `difficult` are the
    frame's crowds, as VOC leaves them out of its judgement; truncated ones are objects.
    missing_labels, clip_boxes: as DarknetSource. A frame's key is its image's path relative to root.
    """

    default_splits: ClassVar = {split: (split,) for split in ("train", "val")}

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, str | float],
        names_file: str | None = None,
        missing_labels: str = "error",
        clip_boxes: bool = False,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        check_missing_labels(missing_labels)
        self.missing_labels, self.clip_boxes = missing_labels, clip_boxes
        images = self.root / "JPEGImages"
        unread: list[Path] = []
        lists = Lists(
            images if images.is_dir() else self.root, self.root / "ImageSets" / "Main", splits, unread
        )
        self.pass_over(unread)
        self._items = self.gather(splits, lambda split: [self._item(n, lists) for n in lists.of(split)])
        self.splits = tuple(self._items)
        self.classes = self._names(names_file, [self._item(name, lists) for name in lists.names])

    def items(self, split: str) -> list[VocImage]:
        return self._items[split]

    def files(self, item: VocImage) -> Iterable[Path]:
        return item.image, item.annotation

    def options(self) -> tuple[object, ...]:
        return self.missing_labels, self.clip_boxes

    def read(self, item: VocImage) -> Frame:
        image = read_image(item.image)
        marked: tuple[list[Instance], list[Instance]] = ([], [])
        expected = "an annotation of each image"
        if not is_missing(item.annotation, self.missing_labels, expected):
            tree = read_xml(item.annotation)
            size = _size(tree, item.annotation)
            if size is not None and image.shape[:2] != size:
                raise wrong_size(image.shape, size, item.image, item.annotation.name)
            for number, element in enumerate(tree.findall("object")):
                where = f"{item.annotation} object {number}"
                instance = self._instance(element, image.shape, where)
                marked[_flag(element, "difficult", where)].append(instance)
        key = item.image.relative_to(self.root).as_posix()
        return Frame(image, tuple(marked[0]), self.name, key, group=key, crowds=tuple(marked[1]))

    def _instance(self, element: ElementTree.Element, size: tuple[int, ...], where: str) -> Instance:
        name = _text(element, "name", where)
        if name not in self.classes:
            raise InputError(f"name is {name[:40]!r}", where=where, expected=", ".join(self.classes[:20]))
        box = element.find("bndbox")
        if box is None:
            raise InputError("no bndbox", where=where, expected="a box of each object")
        left, top, right, bottom = (_number(box, edge, where) for edge in _EDGES)
        edges = [left - 1, top - 1, right, bottom]  # the first pixel is 1, and the last belongs to the box
        return Instance(self.classes.index(name), as_box(edges, size, where, "bndbox", self.clip_boxes))

    def _item(self, name: str, lists: Lists) -> VocImage:
        image = lists.names.get(name, lists.images / f"{name}.jpg")
        annotation = self.root / "Annotations" / f"{name}.xml"
        beside = image.with_suffix(".xml")
        return VocImage(image, beside if not annotation.is_file() and beside.is_file() else annotation)

    def _names(self, names_file: str | None, items: Iterable[VocImage]) -> tuple[str, ...]:
        if names_file is None:
            names = sorted({name for item in items for name in _named(item.annotation)})
            where, expected = self.root, "objects in the annotations, or data.source.names_file"
        else:
            where, expected = self.root / names_file, "one name a line"
            names = [line.strip() for line in read_text(where).splitlines() if line.strip()]
        if not names:
            raise InputError("no class names", where=where, expected=expected)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"class {twice!r} is named twice", where=where)
        return tuple(names)


def read_xml(path: Path) -> ElementTree.Element:
    """Parse an XML file. Raises InputError where it is missing or broken, or declares a document type.

    A document type may define entities that multiply, or name other files.
    """
    content = read_bytes(path, _LARGEST)
    try:
        if b"<!DOCTYPE" in content.replace(b"\0", b""):  # of any width of letters
            raise _DoctypeError
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
    except _DoctypeError:
        raise InputError("a document type is declared", where=path, expected="plain XML") from None
    except Exception as error:  # the parser's errors, and those of encodings that it does not know
        raise InputError(f"broken XML ({error})", where=path) from None


class _DoctypeError(Exception):
    """A document type where there is to be none."""


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _DoctypeError


def _named(annotation: Path) -> Iterator[str]:
    """The names in an annotation; of one that cannot be read none: it is told when its frame is read."""
    try:
        tree = read_xml(annotation)
    except InputError:
        return
    for element in tree.findall("object"):
        name = (element.findtext("name") or "").strip()
        if name:
            yield name


def _size(tree: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """Height and width, None where they are left out or 0, as some tools write."""
    element = tree.find("size")
    if element is None or not element.findtext("width") or not element.findtext("height"):
        return None
    height, width = (int(_number(element, name, f"{path} size")) for name in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else None


def _text(element: ElementTree.Element, name: str, where: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise InputError(f"no {name}", where=where, expected="text in it")
    return text


def _number(element: ElementTree.Element, name: str, where: str) -> float:
    text = _text(element, name, where)
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e9:
        raise InputError(f"{name} is {text[:20]}", where=where, expected="a number of pixels")
    return number


def _flag(element: ElementTree.Element, name: str, where: str) -> bool:
    """Whether a mark is set; left out, or of no text, it is not."""
    text = (element.findtext(name) or "").strip().lower()
    if text not in ("", "0", "1", "false", "true", "unspecified"):
        raise InputError(f"{name} is {text[:20]}", where=where, expected="0 or 1")
    return text in ("1", "true")
