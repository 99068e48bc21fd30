"""`fdrd fetch` against a local server: resumed, checked, unpacked safely, built."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import fdrd
from fdrd.errors import FdrdError
from fdrd.fetching import download, unpack
from fdrd.fetching.fetching_run import FetchOptions, fetch_set, missing_by_hand
from fdrd.fetching.table import PublicSet, RemoteFile, find_set, read_table

CLASSES = ("wren", "robin")


def archive(name, files):
    """Return a zip or tar archive."""
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path, content in files.items():
                zipped.writestr(path, content)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w" if name.endswith(".tar") else "w:gz") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def one_file(url, content, **fields):
    name = url.rpartition("/")[2]
    digest = f"md5:{hashlib.md5(content).hexdigest()}"
    return PublicSet(
        "birds", "Birds", "CC0-1.0", url, (RemoteFile(name, url, **{"digest": digest, **fields}),)
    )


@pytest.fixture
def options(tmp_path):
    return FetchOptions(downloads=tmp_path / "downloads")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def test_a_cut_connection_is_resumed_where_it_ended(server, tmp_path, options):
    content = archive("a.tar", {"wren/1.txt": bytes(range(256)) * 500})
    server.files["a.tar"], server.cuts = content, [70_000, 20_000]
    chosen = one_file(f"{server.url}/a.tar", content)
    fetch_set(chosen, tmp_path / "out", options)
    assert server.ranges == [None, "bytes=70000-", "bytes=90000-"]
    assert (tmp_path / "out/wren/1.txt").stat().st_size == 128_000
    fetch_set(chosen, tmp_path / "again", options)
    assert len(server.ranges) == 3  # not downloaded twice


def test_the_next_call_resumes_what_an_interrupted_call_left(
    server, tmp_path, options, monkeypatch
):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    content = archive("a.tar", {"1.txt": b"x" * 50_000})
    server.files["a.tar"], server.cuts = content, [10_000]
    chosen = one_file(f"{server.url}/a.tar", content)
    with pytest.raises(FdrdError, match="run the command again to resume"):
        fetch_set(chosen, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    fetch_set(chosen, tmp_path / "out", options)
    assert server.ranges == [None, "bytes=10000-"]


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
    with pytest.raises(FdrdError, match=r"gone.tar: download failed .*--mirror or --from"):
        fetch_set(chosen, tmp_path / "out", options)


def link(kind, target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, target
        tar.addfile(info)
    return buffer.getvalue()


def zip_link():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "../../up")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar", archive("a.tar", {"../up": b"x"})),
        ("a.tar", archive("a.tar", {"/tmp/up": b"x"})),
        ("a.tgz", archive("a.tgz", {"b/../../up": b"x"})),
        ("a.tar", link(tarfile.SYMTYPE, "/etc/passwd")),
        ("a.tar", link(tarfile.LNKTYPE, "../up")),
        ("a.tar", link(tarfile.CHRTYPE, "")),
        ("a.zip", archive("a.zip", {"../up": b"x"})),
        ("a.zip", archive("a.zip", {"..\\up": b"x"})),
        ("a.zip", archive("a.zip", {"/tmp/up": b"x"})),
        ("a.zip", zip_link()),
    ],
    ids=[  # gzip writes the time, so the bytes are no stable name
        *("parent", "absolute", "compressed", "symlink", "hardlink", "device"),
        *("zip-parent", "zip-backslash", "zip-absolute", "zip-symlink"),
    ],
)
def test_an_archive_that_would_leave_the_folder_is_refused(
    server, tmp_path, options, name, content
):
    server.files[name] = content
    with pytest.raises(FdrdError, match="refused"):
        fetch_set(one_file(f"{server.url}/{name}", content), tmp_path / "out", options)
    assert {path.name for path in tmp_path.iterdir()} <= {"downloads", "cache", "datasets"}


@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
def test_an_archive_that_would_fill_the_disk_is_refused(
    server, tmp_path, options, monkeypatch, name
):
    monkeypatch.setattr(unpack, "_FREE_BYTES", 2**20)
    content = archive(name, {f"{number}": bytes(2**20) for number in range(4)})
    server.files[name] = content
    with pytest.raises(FdrdError, match="unpacks to over 1,048,576 bytes"):
        fetch_set(one_file(f"{server.url}/{name}", content), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
def test_a_damaged_archive_is_an_error(server, tmp_path, options, name):
    server.files[name] = b"no archive"
    with pytest.raises(FdrdError, match="cannot be unpacked"):
        fetch_set(one_file(f"{server.url}/{name}", b"no archive"), tmp_path / "out", options)


def test_a_file_without_a_known_digest_needs_consent(server, tmp_path, options):
    server.files["a.json"] = b"{}"
    chosen = one_file(f"{server.url}/a.json", b"", digest="")
    with pytest.raises(FdrdError, match=r"no digest is known of a.json.*--accept-unverified"):
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
        for file in each.files:
            assert bool(file.url) != bool(file.by_hand)
            length = {"md5": 32, "sha256": 64, "": 0}[file.digest.partition(":")[0]]
            assert len(file.digest.partition(":")[2]) == length
    assert find_set("Oxford-Pets", table).name == "oxfordpets"
    with pytest.raises(FdrdError, match="choose from caltech101"):
        find_set("imagenet", table)
    (advice,) = missing_by_hand(table["ucf101"], FetchOptions(local=Path("mine")))
    assert "drive.google.com" in advice
    assert advice.endswith("Put it into mine and give --from mine.")


def released(*keys):
    return {
        key: {"file_name": key, "file_path": "YOUR_IMAGE_PATH", "class_name": name}
        | {"positive": f"A {name} on branch {number}.", "negative": []}
        for number, (key, name) in enumerate(zip(keys, CLASSES * 2, strict=False))
    }


def zhou(*paths):
    return {"train": [[paths[0], 0, "wren"]], "val": [], "test": [[paths[1], 1, "robin"]]}


def karpathy(*images):
    rows = [
        {"filename": name, "filepath": folder, "split": split}
        | {"sentences": [{"raw": f"A bird in {name}, {n}."} for n in range(5)]}
        for (folder, name), split in zip(images, ("train", "test"), strict=True)
    ]
    return json.dumps({"images": rows, "dataset": "birds"}).encode()


def set_files(draw):
    """Return small files in the structure of the real sets: archive name -> members, JSON name -> value."""
    return domain_files(draw(1), draw(2)) | caption_files(draw(1), draw(2), draw(3))


def domain_files(one, two):
    """Return the sets whose captions the authors released."""
    objects = {"101_ObjectCategories/wren/image_0001.jpg": one}
    objects["101_ObjectCategories/robin/image_0002.jpg"] = two
    return {
        "caltech101": {
            "caltech-101.zip": {
                "caltech-101/101_ObjectCategories.tar.gz": archive("a.tar.gz", objects),
                "caltech-101/Annotations.tar": b"not unpacked",
                "__MACOSX/._x": b"",
            },
            "inter_caltech-101_train.json": released("wren_image_0001.jpg"),
            "inter_caltech-101_test.json": {
                "robin_image_0002.jpg": released("x", "robin_image_0002.jpg")[
                    "robin_image_0002.jpg"
                ]
            },
        },
        "oxfordpets": {
            "images.tar.gz": {"images/wren_1.jpg": one, "images/robin_2.jpg": two},
            "pets_test.json": released("wren_1.jpg", "robin_2.jpg"),
        },
        "stanfordcars": {
            "cars_train.tgz": {"cars_train/00001.jpg": one, "cars_train/00002.jpg": two},
            "inter_car_train.json": released("00001.jpg", "00002.jpg"),
        },
        "flowers102": {
            "102flowers.tgz": {"jpg/image_00001.jpg": one, "jpg/image_00002.jpg": two},
            "flower_test.json": released("image_00001.jpg", "image_00002.jpg"),
        },
        "food101": {
            "food-101.tar.gz": {
                "food-101/images/wren/1.jpg": one,
                "food-101/images/robin/2.jpg": two,
            }
            | {"food-101/README.txt": b"Food"},
            "split_zhou_Food101.json": zhou("wren/1.jpg", "robin/2.jpg"),
        },
        "fgvcaircraft": {
            "fgvc-aircraft-2013b.tar.gz": {
                "fgvc-aircraft-2013b/data/images/0001.jpg": one,
                "fgvc-aircraft-2013b/data/images/0002.jpg": two,
                "fgvc-aircraft-2013b/evaluation.m": b"%",
            },
            "plane_test.json": released("0001.jpg", "0002.jpg"),
        },
        "sun397": {
            "SUN397.tar.gz": {"SUN397/a/wren/sun_1.jpg": one, "SUN397/a/robin/sun_2.jpg": two},
            "split_zhou_SUN397.json": zhou("a/wren/sun_1.jpg", "a/robin/sun_2.jpg"),
        },
        "dtd": {
            "dtd-r1.0.1.tar.gz": {
                "dtd/images/wren/wren_1.jpg": one,
                "dtd/images/robin/robin_2.jpg": two,
            }
            | {"dtd/imdb/imdb.mat": b"x"},
            "inter_dtd_train.json": released("wren_1.jpg"),
            "inter_dtd_test.json": released("wren_1.jpg", "robin_2.jpg"),
        },
        "ucf101": {
            "UCF-101-midframes.zip": {
                "UCF-101-midframes/Wren/v_Wren_g01_c01.jpg": one,
                "UCF-101-midframes/Robin/v_Robin_g02_c01.jpg": two,
            },
            "inter_ucf101_train.json": released("v_Wren_g01_c01.jpg"),
            "inter_ucf101_test.json": {
                "v_Robin_g02_c01.jpg": released("x", "v_Robin_g02_c01.jpg")["v_Robin_g02_c01.jpg"]
            },
        },
    }


def caption_files(one, two, three):
    """Return the sets that come with captions of their own."""
    coco = ("COCO_val2014_1.jpg", "COCO_val2014_2.jpg")
    return {
        "coco5k": {
            "val2014.zip": {f"val2014/{coco[0]}": one, f"val2014/{coco[1]}": two},
            "caption_datasets.zip": {
                "dataset_coco.json": karpathy(("val2014", coco[0]), ("val2014", coco[1])),
                "dataset_flickr8k.json": b"{}",
            },
        },
        "flickr30k": {
            "flickr30k-images.tar.gz": {
                "flickr30k-images/1.jpg": one,
                "flickr30k-images/2.jpg": two,
            },
            "caption_datasets.zip": {
                "dataset_flickr30k.json": karpathy(("", "1.jpg"), ("", "2.jpg"))
            },
        },
        "cub": {
            "CUB_200_2011.tgz": {
                "attributes.txt": b"1 has_bill_shape::curved\n",
                "CUB_200_2011/images.txt": b"1 001.Wren/wren_1.jpg\n2 002.Robin/robin_2.jpg\n",
                "CUB_200_2011/classes.txt": b"1 001.Wren\n2 002.Robin\n",
                "CUB_200_2011/image_class_labels.txt": b"1 1\n2 2\n",
                "CUB_200_2011/train_test_split.txt": b"1 1\n2 0\n",
                "CUB_200_2011/images/001.Wren/wren_1.jpg": one,
                "CUB_200_2011/images/002.Robin/robin_2.jpg": three,
            },
            "cvpr2016_cub.tar.gz": {
                "cvpr2016_cub/text_c10/001.Wren/wren_1.txt": b"a small brown wren\n",
                "cvpr2016_cub/text_c10/002.Robin/robin_2.txt": b"a robin with a red breast\n",
                "cvpr2016_cub/images/x.t7": b"x",
            },
        },
    }


@pytest.mark.parametrize("name", read_table())
@pytest.mark.parametrize("way", ["mirror", "from"])
def test_every_set_is_laid_out_for_the_build(server, tmp_path, draw, name, way):
    from fdrd.sources import find_domains

    contents = {
        file: archive(file, value) if unpack.is_archive(file) else json.dumps(value).encode()
        for file, value in set_files(draw)[name].items()
    }
    chosen = read_table()[name]
    assert {file.name for file in chosen.files if not file.optional} == contents.keys()
    files = [
        replace(file, digest=f"md5:{hashlib.md5(contents[file.name]).hexdigest()}", mb=0)
        for file in chosen.files
        if file.name in contents
    ]
    chosen = replace(chosen, files=tuple(files))
    if way == "mirror":
        server.files = {f"{name}/{file}": content for file, content in contents.items()}
        options = FetchOptions(mirror=server.url, downloads=tmp_path / "downloads")
    else:
        for file, content in contents.items():
            path = tmp_path / "mine" / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        options = FetchOptions(local=tmp_path / "mine")
    raw = fetch_set(chosen, tmp_path / "raw", options)
    wanted = {"coco5k": "karpathy", "flickr30k": "karpathy", "cub": "cub"}.get(name, "released")
    wanted = "coop_splits" if name in ("food101", "sun397") else wanted
    (domain,) = find_domains(raw)
    assert domain.reader == wanted
    if wanted == "coop_splits":
        return  # without captions; `fdrd caption` comes first
    fdrd.build(raw, tmp_path / "data", workers=1)
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    kept = sum(shard["rows"] for shard in manifest["shards"])
    assert kept == {"karpathy": 10, "cub": 2}.get(wanted, 2), (
        tmp_path / "data/rejected.jsonl"
    ).read_text()


def test_a_fetch_by_name_says_what_must_be_done_by_hand(tmp_path):
    with pytest.raises(FdrdError, match=r"UCF101 needs files .*drive.google.com"):
        fdrd.fetch("UCF101", tmp_path / "raw")
    (tmp_path / "UCF-101-midframes.zip").write_bytes(archive("a.zip", {"1.jpg": b"x"}))
    with pytest.raises(FdrdError, match=r"no digest is known of UCF-101-midframes.zip"):
        fdrd.fetch("UCF101", tmp_path / "raw", local=tmp_path)


def test_the_command_shows_the_terms_and_asks(tmp_path):
    def run(*arguments, answer=""):
        return subprocess.run(
            [sys.executable, "-m", "fdrd", "fetch", *arguments],
            cwd=tmp_path, capture_output=True, text=True, input=answer,
        )  # fmt: skip

    listed = run()
    assert listed.returncode == 0
    assert "caltech101" in listed.stdout
    refused = run("ucf101", answer="n\n")
    assert refused.returncode == 1
    assert "https://www.crcv.ucf.edu/data/UCF101.php" in refused.stderr
    assert "Do you accept these terms?" in refused.stderr
    accepted = run("ucf101", "--yes")
    assert accepted.returncode != 0
    assert "needs files that only you can get" in accepted.stderr
    assert not (tmp_path / "raw").exists()
