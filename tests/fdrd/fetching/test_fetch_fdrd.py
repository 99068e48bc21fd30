"""`fdrd fetch fdrd`: nine sets at once from a local server, resumed, refused, built, and benchmarked."""

import hashlib
import shutil
from dataclasses import replace

import pytest

import fdrd
from fdrd.errors import FdrdError
from fdrd.fetching import download
from fdrd.fetching.fetching_run import FetchOptions, fetch_sets
from tests.command import run_fdrd
from tests.fdrd.fetching.made_sets import DOMAINS, made_files, made_table


@pytest.fixture
def contents(draw):
    return {name: made_files(name, draw) for name in DOMAINS}


@pytest.fixture
def options(server, contents, tmp_path, monkeypatch):
    """Return options with a mirror that serves every file, and work in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    for name, files in contents.items():
        server.files |= {f"{name}/{file}": content for file, content in files.items()}
    return FetchOptions(None, server.url, True, tmp_path / "downloads")


def test_from_nothing_to_numbers_beside_those_of_the_paper(
    server, contents, options, tmp_path, monkeypatch
):
    table = made_table(contents, server.url)
    monkeypatch.setattr("fdrd.fetching.fetching_run.read_table", lambda: table)
    fetch = ("fetch", "fdrd", "raw", "--yes", "--accept-unverified")
    code, _, first = run_fdrd(*fetch)
    assert code == 2
    by_hand = tmp_path / "cache/fdrd/downloads"
    lines = first.splitlines()
    assert lines[0].startswith("By hand:  stanfordcars: cars_train.tgz")
    assert f"into {by_hand}/stanfordcars and run" in lines[0]
    assert lines[3].startswith("No known digest: fgvcaircraft/fgvc-aircraft-2013b.tar.gz, ucf101/")
    assert "download dtd/inter_dtd_test.json" in first
    assert [line.partition(": ")[0] for line in lines[-2:]] == ["fdrd", "ucf101"]
    fetched = {path.name for path in (tmp_path / "raw").iterdir()}
    assert fetched == {*DOMAINS} - {"stanfordcars", "ucf101"}

    for file in ("cars_train.tgz", "cars_test.tgz"):
        (by_hand / "stanfordcars").mkdir(parents=True, exist_ok=True)
        (by_hand / "stanfordcars" / file).write_bytes(contents["stanfordcars"][file])
    (by_hand / "ucf101").mkdir(exist_ok=True)
    packed = by_hand / "ucf101/UCF-101-midframes.zip"
    packed.write_bytes(contents["ucf101"][packed.name])
    shutil.unpack_archive(packed, by_hand / "ucf101")
    packed.unlink()  # its folder stands for it
    requests = len(server.ranges)
    code, out, second = run_fdrd(*fetch)
    assert (code, out.splitlines()[-1]) == (0, "Next:  fdrd build raw")
    assert len(server.ranges) - requests == 4
    assert "dtd  is in raw already" in second
    assert run_fdrd("fetch", "fdrd", "raw")[0] == 0  # nothing is left to accept

    built = fdrd.build("raw", "data/fdrd", workers=1)
    assert (built.manifest.records.kept, built.manifest.records.rejected) == (34, 0)
    about = {each.name: each for each in built.manifest.domains}
    assert about.keys() == DOMAINS.keys()
    assert about["caltech101"].license == "CC-BY-4.0"
    assert all("arXiv:2508.04028" in each.citation for each in about.values())

    methods = ("-m", "zero_shot", "-m", "clip_adapter", "-T", "epochs=1")
    code, out, err = run_fdrd("bench", "--preset", "paper", *methods, "--backbone", "embedded")
    assert code == 0, err
    assert "food101 has no training split, so it is left out of clip_adapter; 2 test pairs" in err
    assert "dtd has 2 pairs to train on, 2 test pairs as gallery" in err
    assert "dtd: measured on 2 test pairs of 2 images; the published test split has 1,692" in out
    assert out.count("next to arXiv 2508.04028") == 9
    assert "Mean over caltech101, dtd, fgvcaircraft, flowers102, food101, oxfordpets" in out
    assert "Mean over caltech101, dtd, fgvcaircraft, flowers102, oxfordpets" in out


def test_a_download_that_is_cut_at_ten_offsets_is_complete(server, options, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    content = bytes(range(256)) * 44
    server.files["birds/a.bin"], server.cuts = content, [1000] * 10
    digest = f"git:{hashlib.sha1(b'blob %d' % len(content) + bytes(1) + content).hexdigest()}"
    url, folder = f"{server.url}/birds/a.bin", tmp_path / "birds"
    arguments = (url, "a.bin", digest, folder, lambda *_: None, 0.1)
    for _ in range(10):
        with pytest.raises(FdrdError, match="check the network and run the command again"):
            download.download(*arguments)
    assert download.download(*arguments).read_bytes() == content
    assert server.ranges == [None, *(f"bytes={1000 * n}-" for n in range(1, 11))]


def test_a_file_with_a_wrong_byte_is_refused_by_name_and_the_others_are_fetched(
    server, contents, options, tmp_path
):
    file = "dtd/inter_dtd_train.json"
    server.files[file] = server.files[file].replace(b"branch 1", b"branch 7")
    chosen = [made_table(contents)[name] for name in ("dtd", "oxfordpets")]
    message = rf"^dtd: .*/{file}: the file does not have the digest git:"
    with pytest.raises(FdrdError, match=message) as error:
        fetch_sets(chosen, tmp_path / "raw", options)
    assert len(str(error.value).splitlines()) == 1
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["oxfordpets"]
    assert not (options.downloads / file).exists()
    server.files[file] = contents["dtd"]["inter_dtd_train.json"]
    fetch_sets(chosen, tmp_path / "raw", options)
    assert len(list((tmp_path / "raw").iterdir())) == 2


@pytest.mark.parametrize("where", ["downloads", "raw"])
def test_a_full_disk_names_the_file_and_stops_the_others(
    contents, options, tmp_path, monkeypatch, where, small_disk
):
    table = made_table(contents)
    monkeypatch.setattr("fdrd.fetching.fetching_run.read_table", lambda: table)
    consent = ("--yes", "--accept-unverified", "--mirror", options.mirror)
    if where == "raw":  # all files are downloaded already
        assert run_fdrd("fetch", "fdrd", "before", *consent)[0] == 0
    with small_disk(100):
        code, _, err = run_fdrd("fetch", "fdrd", "raw", *consent)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("fdrd: ")]
    assert "File too large" in line
    assert ("FDRD_CACHE" if where == "downloads" else "free some space") in line
    assert not list((tmp_path / "raw").glob("[!.]*"))


def test_a_published_caption_file_has_the_object_id_of_git(tmp_path):
    (tmp_path / "a.json").write_bytes(b"hello\n")  # $ echo hello | git hash-object --stdin
    download.check_digest(tmp_path / "a.json", "git:ce013625030ba8dba906f756967f9e9ca394464a")
    with pytest.raises(FdrdError, match="does not have the digest git:0"):
        download.check_digest(tmp_path / "a.json", f"git:{'0' * 40}")


def test_a_repacked_archive_may_be_unpacked(contents, tmp_path):
    chosen = made_table(contents)["stanfordcars"]
    mine = tmp_path / "mine/stanfordcars"
    mine.mkdir(parents=True)
    for file, content in contents["stanfordcars"].items():
        (mine / file).write_bytes(content + b"repacked" * file.endswith("train.tgz"))
    options = FetchOptions(tmp_path / "mine")
    remedy = "or unpack it into a folder cars_train beside it and remove it"
    with pytest.raises(FdrdError, match=f"cars_train.tgz does not have the digest .*{remedy}"):
        fetch_sets([chosen], tmp_path / "raw", options)
    (mine / "cars_train.tgz").unlink()
    (mine / "cars_train").mkdir()
    (mine / "cars_train/00001.jpg").write_bytes(b"an image")
    with pytest.raises(FdrdError, match=r"no digest is known of .*/cars_train/, so"):
        fetch_sets([chosen], tmp_path / "raw", options)
    fetch_sets([chosen], tmp_path / "raw", replace(options, accept_unverified=True))
    assert (tmp_path / "raw/stanfordcars/cars_train/00001.jpg").read_bytes() == b"an image"
    assert (tmp_path / "raw/stanfordcars/cars_test/00003.jpg").is_file()
