"""`fdrd fetch` against a local server: resumed, checked, unpacked safely, built; and two fetches at a time."""

import hashlib
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import fdrd
from fdrd.errors import FdrdError
from fdrd.fetching import download
from fdrd.fetching.fetching_run import (
    FetchOptions,
    PublicSet,
    RemoteFile,
    fetch_set,
    find,
    missing_by_hand,
    read_collections,
    read_table,
)
from fdrd.sources import find_domains
from tests.archives import tar
from tests.command import run_fdrd
from tests.fdrd.fetching.made_sets import archive, made_files, made_table
from tests.folders import at_step, digests, refused_at


def one_file(url, content, **fields):
    name = url.rpartition("/")[2]
    fields = {"digest": f"md5:{hashlib.md5(content).hexdigest()}", **fields}
    return PublicSet("birds", "Birds", "CC0-1.0", url, (RemoteFile(name, url, **fields),))


@pytest.fixture
def options(tmp_path):
    return FetchOptions(downloads=tmp_path / "downloads")


def test_a_cut_connection_is_resumed_where_it_ended(server, tmp_path, options):
    content = archive("a.tar", {"wren/1.txt": bytes(range(256)) * 500})
    server.files["a.tar"], server.cuts = content, [70_000, 20_000]
    chosen = one_file(f"{server.url}/a.tar", content)
    fetch_set(chosen, tmp_path / "out", options)
    assert server.ranges == [None, "bytes=70000-", "bytes=90000-"]
    assert (tmp_path / "out/wren/1.txt").stat().st_size == 128_000
    fetch_set(chosen, tmp_path / "again", options)
    assert len(server.ranges) == 3  # not downloaded twice


def test_a_wrong_digest_is_refused_and_nothing_is_kept(server, tmp_path, options):
    content = archive("a.tar", {"1.txt": b"x"})
    server.files["a.tar"] = content
    chosen = one_file(f"{server.url}/a.tar", content + b"changed")
    with pytest.raises(FdrdError, match="does not have the digest"):
        fetch_set(chosen, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "downloads/birds").iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.tar").write_bytes(content)
    with pytest.raises(FdrdError, match="replace it by the original"):
        fetch_set(chosen, tmp_path / "out", replace(options, local=tmp_path / "mine"))


@pytest.mark.parametrize("digest", [{}, {"digest": ""}])
def test_a_file_that_is_far_larger_than_the_table_says_ends_early(
    server, tmp_path, options, monkeypatch, digest
):
    content = archive("a.tar", {"1.txt": bytes(500_000)})
    server.files["a.tar"] = content
    chosen = one_file(f"{server.url}/a.tar", content, mb=0.1, **digest)
    options = replace(options, accept_unverified=True)
    monkeypatch.setattr(download, "SPARE_BYTES", len(content) - 200_001)
    with pytest.raises(FdrdError, match=r"a.tar: the file has over .* bytes, so it was deleted"):
        fetch_set(chosen, tmp_path / "out", options)
    assert not list((tmp_path / "downloads/birds").iterdir())
    monkeypatch.setattr(download, "SPARE_BYTES", len(content) - 200_000)
    fetch_set(chosen, tmp_path / "out", options)


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "/loop", "ftp://127.0.0.1/x", "http://127.0.0.1:9/"]
)
def test_a_redirect_to_elsewhere_is_an_error(server, tmp_path, options, monkeypatch, to):
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.redirects["loop"] = to
    with pytest.raises(FdrdError, match="download failed"):
        fetch_set(one_file(f"{server.url}/loop", b"x"), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_an_error_that_names_the_options(server, tmp_path, options):
    chosen = one_file(f"{server.url}/gone.tar", b"")
    message = r"gone.tar: download failed, the server answers 404; .*`mirror` or `local`"
    with pytest.raises(FdrdError, match=message):
        fetch_set(chosen, tmp_path / "out", options)


def link(kind, target):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, target
    return tar([(info, b"")])


def zip_link():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "../../up")
    return buffer.getvalue()


ZEROS = {f"{number}": bytes(2**20) for number in range(4)}
ARCHIVES = {  # gzip writes the time, so the bytes are no stable name of a test
    "parent": ("a.tar", archive("a.tar", {"../up": b"x"}), "refused"),
    "absolute": ("a.tar", archive("a.tar", {"/tmp/up": b"x"}), "refused"),
    "compressed": ("a.tgz", archive("a.tgz", {"b/../../up": b"x"}), "refused"),
    "symlink": ("a.tar", link(tarfile.SYMTYPE, "/etc/passwd"), "refused"),
    "hardlink": ("a.tar", link(tarfile.LNKTYPE, "../up"), "refused"),
    "device": ("a.tar", link(tarfile.CHRTYPE, ""), "refused"),
    "zip-parent": ("a.zip", archive("a.zip", {"../up": b"x"}), "refused"),
    "zip-backslash": ("a.zip", archive("a.zip", {"..\\up": b"x"}), "refused"),
    "zip-absolute": ("a.zip", archive("a.zip", {"/tmp/up": b"x"}), "refused"),
    "zip-symlink": ("a.zip", zip_link(), "refused"),
    "damaged": ("a.tgz", b"no archive", "cannot be unpacked"),
    "zip-damaged": ("a.zip", b"no archive", "cannot be unpacked"),
    "large": ("a.tgz", archive("a.tgz", ZEROS), "unpacks to over 1,048,576 bytes"),
    "zip-large": ("a.zip", archive("a.zip", ZEROS), "unpacks to over 1,048,576 bytes"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_leaves_the_folder_is_damaged_or_fills_the_disk_is_refused(
    server, tmp_path, options, monkeypatch, kind
):
    name, content, message = ARCHIVES[kind]
    monkeypatch.setattr(download, "_FREE_BYTES", 2**20)
    server.files[name] = content
    with pytest.raises(FdrdError, match=message):
        fetch_set(one_file(f"{server.url}/{name}", content), tmp_path / "out", options)
    assert {path.name for path in tmp_path.iterdir()} <= {"downloads", "cache"}


def test_a_file_without_a_known_digest_needs_consent(server, tmp_path, options):
    server.files["a.json"] = b"{}"
    chosen = one_file(f"{server.url}/a.json", b"", digest="")
    with pytest.raises(FdrdError, match=r"no digest is known of a.json.*`accept_unverified`"):
        fetch_set(chosen, tmp_path / "out", options)
    fetch_set(chosen, tmp_path / "out", replace(options, accept_unverified=True))
    assert (tmp_path / "out/a.json").read_bytes() == b"{}"


def test_too_little_space_is_noticed_before_the_download(server, tmp_path, options):
    with pytest.raises(FdrdError, match="GB are needed"):
        fetch_set(one_file(f"{server.url}/a.tar", b"", mb=10**12), tmp_path / "out", options)
    assert not server.ranges


def test_the_table_has_the_sets_and_only_plausible_facts():
    table = read_table()
    nine = "caltech101 oxfordpets stanfordcars flowers102 food101 fgvcaircraft sun397 dtd ucf101"
    assert list(table) == [*nine.split(), "coco5k", "flickr30k", "cub"]
    for each in table.values():
        assert each.terms.startswith("https://")
        assert len({file.name for file in each.files}) == len(each.files)
        assert each.citation
        assert each.captions
        assert each.images
        for file in each.files:
            assert bool(file.url) != bool(file.by_hand)
            length = {"md5": 32, "git": 40, "": 0}[file.digest.partition(":")[0]]
            assert file.name.endswith(".json") == file.digest.startswith("git:") or not file.digest
            assert len(file.digest.partition(":")[2]) == length
            if file.digest.startswith("git:"):  # captions are pinned to a commit
                assert len(file.url.split("/DCAR/")[1].split("/")[0]) == 40
    assert find("Oxford-Pets").name == "oxfordpets"
    with pytest.raises(FdrdError, match="choose from fdrd, caltech101"):
        find("imagenet")
    (advice,) = missing_by_hand(table["ucf101"], FetchOptions(local=Path("mine")))
    assert "drive.google.com" in advice
    assert "Put it, or a folder UCF-101-midframes with its images, into mine/ucf101 and" in advice
    (fdrd_sets,) = read_collections(table).values()
    assert [each.name for each in fdrd_sets.sets] == nine.split()
    partial = {each.name: each.captions for each in fdrd_sets.sets}
    assert [name for name, splits in partial.items() if splits != "train, test"] == ["food101"]


@pytest.mark.parametrize("name", read_table())
@pytest.mark.parametrize("way", ["mirror", "from"])
def test_every_set_is_laid_out_for_the_build(server, tmp_path, draw, name, way):
    contents = made_files(name, draw)
    chosen = made_table({name: contents})[name]
    assert {file.name for file in chosen.files} == contents.keys()
    if way == "mirror":
        server.files = {f"{name}/{file}": content for file, content in contents.items()}
        options = FetchOptions(None, server.url, True, tmp_path / "downloads")
    else:
        for file, content in contents.items():
            path = tmp_path / "mine" / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        options = FetchOptions(tmp_path / "mine", accept_unverified=True)
    raw = fetch_set(chosen, tmp_path / "raw", options)
    (domain,) = find_domains(raw)
    wanted = {"coco5k": "karpathy", "flickr30k": "karpathy", "cub": "cub"}.get(name, "released")
    assert domain.reader == wanted
    assert (domain.about.homepage, domain.about.citation) == (chosen.terms, chosen.citation)
    assert (domain.about.license or "unknown") == chosen.license
    if way == "mirror" and wanted != "released":
        built = fdrd.build(raw, tmp_path / "data", workers=1)
        assert built.manifest.records.kept == {"karpathy": 10, "cub": 2}[wanted]


def test_a_fetch_by_name_says_what_must_be_done_by_hand(tmp_path):
    with pytest.raises(FdrdError, match=r"UCF101 needs files .*drive.google.com"):
        fdrd.fetch("UCF101", tmp_path / "raw")
    (tmp_path / "UCF-101-midframes.zip").write_bytes(archive("a.zip", {"1.jpg": b"x"}))
    with pytest.raises(FdrdError, match=r"no digest is known of UCF-101-midframes.zip"):
        fdrd.fetch("UCF101", tmp_path / "raw", local=tmp_path)


def test_the_command_shows_the_terms_and_asks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, listed, _ = run_fdrd("fetch")
    assert (code, "caltech101" in listed) == (0, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, refused = run_fdrd("fetch", "ucf101")
    assert code == 1
    assert "https://www.crcv.ucf.edu/data/UCF101.php" in refused
    assert "Do you accept these terms?" in refused
    code, _, accepted = run_fdrd("fetch", "ucf101", "--yes")
    assert code == 2
    assert "needs files that only you can get" in accepted
    assert not (tmp_path / "raw").exists()


FILES = {f"{number:03}.txt": bytes([number]) * 3000 for number in range(60)}


@pytest.fixture
def packed(server):
    server.files["a.tar"] = tar(FILES)
    return one_file(f"{server.url}/a.tar", tar(FILES))


def complete(folder):
    found = digests(folder)
    assert found.pop("domain.toml")
    return found == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.mark.parametrize("step", [0, 2, 4])
def test_a_second_fetch_into_the_folder_is_refused_wherever_the_first_one_is(
    packed, server, tmp_path, options, step
):
    with refused_at(step, lambda: fetch_set(packed, tmp_path / "out", options)) as progress:
        fetch_set(packed, tmp_path / "out", options, progress)
    assert complete(tmp_path / "out")
    assert len(server.ranges) == 1
    assert [path.name for path in tmp_path.glob("*out*")] == ["out"]


@pytest.mark.parametrize("step", [0, 2, 4])
def test_two_folders_share_one_download(packed, server, tmp_path, options, step):
    second = threading.Thread(target=fetch_set, args=(packed, tmp_path / "two", options))
    fetch_set(packed, tmp_path / "one", options, at_step(step, second.start))
    second.join()
    assert complete(tmp_path / "one")
    assert complete(tmp_path / "two")
    assert server.ranges == [None]  # downloaded once
