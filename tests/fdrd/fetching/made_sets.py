"""Small files with the names and the structure of the real sets: file -> members of an archive, or a JSON value."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace

from fdrd.fetching.download import is_archive
from fdrd.fetching.fetching_run import read_table
from tests.archives import tar

ROWS = (("train", "wren"), ("train", "robin"), ("test", "wren"), ("test", "robin"))

# archive, member, key and file of the captions; n: number, c: category, s: split
DOMAINS = {
    "caltech101": """101_ObjectCategories.tar.gz 101_ObjectCategories/{c}/image_{n:04}.jpg
        {c}_image_{n:04}.jpg inter_caltech-101_{s}.json""",
    "oxfordpets": "images.tar.gz images/{c}_{n}.jpg {c}_{n} pets_{s}.json",
    "stanfordcars": "cars_{s}.tgz cars_{s}/{n:05}.jpg {n:05}.jpg {s}.json",
    "flowers102": "102flowers.tgz jpg/image_{n:05}.jpg {c}_image_{n:05} flower_{s}.json",
    "food101": "food-101.tar.gz food-101/images/{c}/{n}.jpg {c}_{n}.jpg inter_food_{s}.json",
    "fgvcaircraft": """fgvc-aircraft-2013b.tar.gz fgvc-aircraft-2013b/data/images/{n:07}.jpg
        {c}_{n:07} plane_{s}.json""",
    "sun397": "SUN397.tar.gz SUN397/a/{c}/sun_{n}.jpg sun_{n}.jpg inter_sun397_{s}.json",
    "dtd": "dtd-r1.0.1.tar.gz dtd/images/{c}/{c}_{n}.jpg {c}_{n}.jpg inter_dtd_{s}.json",
    "ucf101": """UCF-101-midframes.zip UCF-101-midframes/{c}/v_{c}_g{n:02}_c01.jpg
        v_{c}_g{n:02}_c01.jpg inter_ucf101_{s}.json""",
}


def archive(name, files):
    """Return a zip or tar archive."""
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path, content in files.items():
                zipped.writestr(path, content)
        return buffer.getvalue()
    return tar(files, "w" if name.endswith(".tar") else "w:gz")


def made_files(name, draw):
    """Return the files of a set as bytes."""
    files = (
        domain_files(name, draw) if name in DOMAINS else caption_files(*map(draw, range(3)))[name]
    )
    return {
        file: archive(file, value) if is_archive(file) else json.dumps(value).encode()
        for file, value in files.items()
    }


def made_table(contents, url=""):
    """Return the table of the sets with these files, by set and name: their digests, and a server's addresses."""
    return {
        name: replace(
            chosen,
            files=tuple(
                replace(
                    file,
                    digest=_digest(file.digest, contents[name][file.name]),
                    url=f"{url}/{name}/{file.name}" if file.url and url else file.url,
                    mb=0,
                )
                for file in chosen.files
            ),
        )
        for name, chosen in read_table().items()
        if name in contents
    }


def _digest(published, content):
    algorithm, prefix = published.partition(":")[0], b""
    if algorithm == "git":
        prefix = b"blob %d\0" % len(content)
    hashed = hashlib.new(algorithm.replace("git", "sha1") or "md5", prefix + content).hexdigest()
    return f"{algorithm}:{hashed}" if published else ""


def domain_files(name, draw):
    """Return a domain whose captions the authors published: two pairs of each split."""
    packed, member, key, captions = DOMAINS[name].split()
    captions = {"{s}.json": "inter_car_train.json car_test.json"}.get(captions, captions)
    files = {}
    for number, (split, category) in enumerate(ROWS, 1):
        words = {"n": number, "c": category, "s": split}
        image = draw(10 * list(DOMAINS).index(name) + number, form="JPEG")
        files.setdefault(packed.format(**words), {})[member.format(**words)] = image
        if (name, split) == ("food101", "train"):
            continue  # images only
        file = next(each for each in captions.format(**words).split() if split in each)
        called = key.format(**words)
        files.setdefault(file, {})[called] = {
            "file_name": called,
            "file_path": "YOUR_IMAGE_PATH",
            "class_name": category,
            "positive": f"A {category} on branch {number} of a {name} tree.",
            "negative": [],
        }
    unused = {"dtd": "dtd/imdb/imdb.mat", "fgvcaircraft": "fgvc-aircraft-2013b/evaluation.m"}
    if name in unused:
        files[packed][unused[name]] = b"not unpacked"
    if name == "caltech101":
        nested = {f"caltech-101/{packed}": archive(packed, files.pop(packed))}
        files["caltech-101.zip"] = nested | {"caltech-101/Annotations.tar": b"not unpacked"}
    return files


def karpathy(*images):
    rows = [
        {"filename": name, "filepath": folder, "split": split}
        | {"sentences": [{"raw": f"A bird in {name}, {n}."} for n in range(5)]}
        for (folder, name), split in zip(images, ("train", "test"), strict=True)
    ]
    return json.dumps({"images": rows, "dataset": "birds"}).encode()


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
                f"flickr30k-images/{n}.jpg": (one, two)[n - 1] for n in (1, 2)
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
