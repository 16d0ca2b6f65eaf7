import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deeprob.cli.fetch import main
from deeprob.data import fetch as module
from deeprob.data.fetch import Archive, archives, fetch, unpack
from deeprob.data.readers.files import expect_root
from deeprob.errors import InputError


def quiet(what: str, done: int, total: int | None) -> None:
    pass


def tar(path: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


class Server(ThreadingHTTPServer):
    """Serves one file; says what was asked for, and can break off."""

    content = b""
    ranges: tuple[str | None, ...] = ()
    break_after: int | None = None
    knows_ranges = True


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges += (wanted,)
        start = int(wanted[6:-1]) if wanted and self.server.knows_ranges else 0
        rest = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.break_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A data set `toy` of two files, as a server offers it."""
    server.content = tar(tmp_path / "made.tar.gz", ("toy/a.txt", b"A" * 100), ("toy/sub/b.txt", b"B"))
    url = f"http://127.0.0.1:{server.server_port}/toy.tar.gz"
    md5 = hashlib.md5(server.content).hexdigest()
    monkeypatch.setitem(module.ARCHIVES, "toy", (Archive("toy.tar.gz", url, "toy", md5=md5),))
    return server


def test_data_set_is_downloaded_checked_and_unpacked(published: Server, tmp_path: Path) -> None:
    assert fetch("toy", tmp_path / "data", quiet) == [tmp_path / "data/toy"]
    assert (tmp_path / "data/toy/sub/b.txt").read_bytes() == b"B"
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["toy"]


def test_what_stands_is_left_alone(published: Server, tmp_path: Path) -> None:
    for _ in range(2):
        fetch("toy", tmp_path, quiet)
    assert len(published.ranges) == 1


def test_stopped_download_goes_on_where_it_was(published: Server, tmp_path: Path) -> None:
    published.break_after = 50
    with pytest.raises(
        InputError, match=r"stopped after 50 of .* bytes; run this again|cannot be downloaded"
    ):
        fetch("toy", tmp_path, quiet)
    published.break_after = None
    fetch("toy", tmp_path, quiet)
    assert published.ranges == (None, "bytes=50-")
    assert (tmp_path / "toy/a.txt").read_bytes() == b"A" * 100


def test_server_that_starts_over_is_followed(published: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.tar.gz.part").write_bytes(b"something else")
    published.knows_ranges = False
    fetch("toy", tmp_path, quiet)
    assert (tmp_path / "toy/a.txt").is_file()


def test_wrong_checksum_is_refused_before_unpacking(published: Server, tmp_path: Path) -> None:
    published.content = published.content[:-1] + b"?"
    with pytest.raises(InputError, match=r"MD5 .*moved to toy\.tar\.gz\.bad"):
        fetch("toy", tmp_path, quiet)
    assert not (tmp_path / "toy").exists()


def test_unpacking_that_was_stopped_is_done_again(published: Server, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy.tar.gz").write_bytes(published.content)
    fetch("toy", tmp_path, quiet)
    assert (tmp_path / "toy/sub/b.txt").is_file()
    assert published.ranges == ()


def test_without_network_the_line_says_what_to_do_by_hand(tmp_path: Path, monkeypatch) -> None:
    broken = Archive("toy.tar.gz", "http://127.0.0.1:9/toy.tar.gz", "toy")
    monkeypatch.setitem(module.ARCHIVES, "toy", (broken,))
    with pytest.raises(InputError, match=r"download http://127.* in a browser, put it at .*toy\.tar\.gz"):
        fetch("toy", tmp_path, quiet)


def test_inner_archive_is_checked_and_unpacked(server: Server, tmp_path: Path, monkeypatch) -> None:
    inner = tar(tmp_path / "inner.tar.gz", ("images/1.txt", b"1"))
    server.content = tar(tmp_path / "outer.tar.gz", ("set/inner.tar.gz", inner))
    archive = Archive(
        "set.tar.gz",
        f"http://127.0.0.1:{server.server_port}/",
        "set",
        inner="set/inner.tar.gz",
        inner_md5=hashlib.md5(inner).hexdigest(),
    )
    monkeypatch.setitem(module.ARCHIVES, "toy", (archive,))
    fetch("toy", tmp_path / "data", quiet)
    assert (tmp_path / "data/set/images/1.txt").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../out.txt", b"x"), "leads outside"),
        (("a/../../out.txt", b"x"), "leads outside"),
        (("/tmp/deeprob_out.txt", b"x"), "leads outside"),
        (("..\\out.txt", b"x"), "leads outside"),
        (("C:\\out.txt", b"x"), "leads outside"),
        (("link", link("link", "/etc/passwd")), "no plain file"),
        (("hard", link("hard", "../out.txt", tarfile.LNKTYPE)), "no plain file"),
        (("device", link("device", "", tarfile.CHRTYPE)), "no plain file"),
        (("pipe", link("pipe", "", tarfile.FIFOTYPE)), "no plain file"),
        (("bomb", bytes(20_000_000)), "200 times its size"),
    ],
)
def test_tar_member_that_does_harm_is_refused(tmp_path: Path, member, message: str) -> None:
    tar(tmp_path / "bad.tar.gz", member)
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "target", quiet)
    assert not list(tmp_path.glob("out*"))


def test_link_that_stood_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target/sub").symlink_to(tmp_path / "elsewhere")
    tar(tmp_path / "a.tar.gz", ("sub/x.txt", b"x"))
    with pytest.raises(InputError, match="leads outside"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "target", quiet)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("name", "message"), [("../out.txt", "leads outside"), ("bomb", "200 times")])
def test_zip_member_that_does_harm_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(5_000_000))
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "bad.zip", tmp_path / "target", quiet)
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_of_countless_members_is_refused(tmp_path: Path, monkeypatch, kind: str) -> None:
    monkeypatch.setattr(module, "_MEMBERS_LIMIT", 20)
    members = [(f"{number}.txt", b"x") for number in range(21)]
    if kind == "tar":
        tar(tmp_path / "bad", *members)
    else:
        with zipfile.ZipFile(tmp_path / "bad", "w") as archive:
            for name, content in members:
                archive.writestr(name, content)
    with pytest.raises(InputError, match="more than 20 members"):
        unpack(tmp_path / "bad", tmp_path / "target", quiet)


def test_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        unpack(tmp_path / "bad.zip", tmp_path / "target", quiet)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_cut_archive_is_one_line(tmp_path: Path, part: float) -> None:
    content = tar(tmp_path / "a.tar.gz", ("a", bytes(range(256)) * 100))
    (tmp_path / "a.tar.gz").write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"a\.tar\.gz: broken archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "target", quiet)


def test_every_named_set_is_known_and_no_other() -> None:
    for name in ("props_classification", "props_detection", "props_pose", "robocup_msl"):
        assert archives(name)
    assert [a.folder for a in archives("bop:ycbv")] == ["bop/ycbv", "bop/ycbv/models", "bop/ycbv/test"]
    with pytest.raises(InputError, match="no data set 'mnist'"):
        archives("mnist")
    with pytest.raises(InputError, match="no BOP data set 'x'"):
        archives("bop:x")


@pytest.mark.parametrize(
    ("name", "command"), [("props_pose", "deeprob fetch props_pose"), ("ycbv", "deeprob fetch bop:ycbv")]
)
def test_a_missing_set_that_can_be_fetched_says_so(tmp_path: Path, name: str, command: str) -> None:
    with pytest.raises(InputError, match=f"no such folder; .*or fetch it: {command}$"):
        expect_root(tmp_path / name, name)


def test_verb_prints_the_folder_and_refuses_unknown_options(
    published: Server, tmp_path: Path, capsys
) -> None:
    assert main(["toy", f"paths.data_dir={tmp_path}/data"]) == 0
    assert capsys.readouterr().out == f"toy: {tmp_path}/data/toy\n"
    with pytest.raises(InputError, match="no option data_dir"):
        main(["toy", "data_dir=x"])
    with pytest.raises(InputError, match="no data set named"):
        main([])
