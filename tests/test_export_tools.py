"""Other tools read what `fdrd export` writes, and write what `fdrd build` reads. Missing tools are skipped.

FDRD_TOOLS_PYTHON names an interpreter with pycocotools, torchvision, mteb, label-studio-sdk, fiftyone or
img2dataset; the default is the one that runs the tests.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys

import pytest
from layouts import LAYOUTS, PAIRS

import fdrd
from fdrd.images.check import read_image
from fdrd.record import Record
from fdrd.sources import find_domains, read_domain
from tests.folders import caches_in

pytestmark = pytest.mark.slow

COCO = """
import sys
from torchvision.datasets import CocoCaptions, CocoDetection
folder = sys.argv[1]
captions = CocoCaptions(f"{folder}/test", f"{folder}/annotations/captions_test.json")
objects = CocoDetection(f"{folder}/test", f"{folder}/annotations/instances_test.json")
names = {each["id"]: each["name"] for each in objects.coco.loadCats(objects.coco.getCatIds())}
found = [[*texts, names[boxes[0]["category_id"]]] for (_, texts), (_, boxes) in zip(captions, objects)]
"""
MTEB = """
import sys
sys.path.insert(0, sys.argv[1])
import mteb, numpy as np
from mteb.models import ModelMeta
from tasks import TASKS, load_split

class Drawn:  # embeddings that depend on the content only
    mteb_model_meta = ModelMeta.create_empty(
        {"name": "fdrd/drawn", "revision": "1", "modalities": ["text", "image"]}
    )
    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
        rows = []
        for batch in inputs:
            for each in batch.get("image") or batch["text"]:
                content = each.convert("RGB").tobytes() if hasattr(each, "convert") else each.encode()
                rows.append(np.random.default_rng(sum(content)).normal(size=16))
        return np.asarray(rows, dtype=np.float32)
    def similarity(self, one, two):
        return self._torch(one) @ self._torch(two).T
    similarity_pairwise = similarity
    def _torch(self, value):
        import torch
        return torch.as_tensor(value)

result = mteb.evaluate(Drawn(), TASKS, cache=None, co2_tracker=False)
found = {
    each.task_name: [each.scores["test"][0]["main_score"], each.scores["test"][0]["recall_at_1000"]]
    for each in result.task_results
}
found["queries"] = [len(load_split("test", way)["queries"]) for way in (True, False)]
"""
LABEL_STUDIO = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
folder = sys.argv[1]
interface = LabelInterface(open(f"{folder}/labeling.xml").read())
tasks = json.load(open(f"{folder}/tasks.json"))
interface.validate()
for task in tasks:
    assert interface.validate_task({"data": task["data"]})
    assert all(interface.validate_prediction(each) for each in task["predictions"]), task
found = [task["data"]["caption"] for task in tasks if task["data"]["split"] == "test"]
"""
FIFTYONE = """
import sys
import fiftyone
data = fiftyone.Dataset.from_dir(sys.argv[1], dataset_type=fiftyone.types.FiftyOneDataset)
found = [[*each.captions, each.ground_truth.label] for each in data.match_tags("test")]
"""
IMG2DATASET = """
import sys
from pathlib import Path
from img2dataset import download
folder = Path(sys.argv[1])
download(
    url_list=str(folder.with_suffix(".csv")), input_format="csv", url_col="url", caption_col="caption",
    output_format=folder.name, output_folder=str(folder), processes_count=1, thread_count=2,
    disable_all_reencoding=True,
)
found = None
"""
IMAGE_FOLDER = """
import sys
from torchvision.datasets import ImageFolder
data = ImageFolder(f"{sys.argv[1]}/test")
found = sorted(data.classes[label] for _, label in data)
"""
FLICKR30K = """
import sys
from torchvision.datasets import Flickr30k
folder = sys.argv[1]
found = [texts for _, texts in Flickr30k(f"{folder}/flickr30k-images", f"{folder}/results_20130124.token")]
"""
COCO_2017 = """
import sys
from torchvision.datasets import CocoCaptions
folder = sys.argv[1]
data = [
    CocoCaptions(f"{folder}/{split}2017", f"{folder}/annotations/captions_{split}2017.json")
    for split in ("train", "val", "test")
]
found = sorted(texts for part in data for _, texts in part)
"""


def run(script, folder, *modules):
    python = os.environ.get("FDRD_TOOLS_PYTHON", sys.executable)
    if subprocess.run(
        [python, "-c", f"import {', '.join(modules)}"], capture_output=True
    ).returncode:
        pytest.skip(f"{python} lacks one of {', '.join(modules)}")
    script += '\nimport json; print("\\n" + json.dumps(found))'
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "hf")}
    environment |= {"NO_ALBUMENTATIONS_UPDATE": "1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [python, "-c", script, str(folder)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with caches_in(folder):
        fdrd.sample(folder / "raw", categories=4, pairs=60, size=32, workers=1)
        fdrd.build(folder / "raw", folder / "data", workers=1)
    return folder / "data"


def expected(data):
    """Return captions and category of each distinct image of the test split."""
    view = fdrd.load(data).view("test")
    return [
        [*(view.captions[c] for i, c in view.pairs if i == image), view.categories[category]]
        for image, category in enumerate(view.image_category)
    ]


@pytest.mark.parametrize(
    ("form", "script", "modules"),
    [("coco", COCO, ("torchvision", "pycocotools")), ("fiftyone", FIFTYONE, ("fiftyone",))],
)
def test_a_tool_reads_images_captions_and_categories(data, tmp_path, form, script, modules):
    fdrd.export(data, tmp_path / "out", to=form)
    assert run(script, tmp_path / "out" / "raw", *modules) == expected(data)


def test_label_studio_accepts_tasks_and_predictions(data, tmp_path):
    fdrd.export(data, tmp_path / "out", to="label-studio")
    found = run(LABEL_STUDIO, tmp_path / "out" / "raw", "label_studio_sdk")
    assert sorted(found) == sorted(text for row in expected(data) for text in row[:-1])


def test_mteb_runs_the_task_file(data, tmp_path):
    fdrd.export(data, tmp_path / "out", to="mteb")
    found = run(MTEB, tmp_path / "out" / "raw", "mteb")
    view = fdrd.load(data).view("test")
    assert found["queries"] == [len(view.image_digests), len(view.captions)]
    assert found["RawI2TRetrieval"][1] == found["RawT2IRetrieval"][1] == 1.0
    assert 0 < found["RawI2TRetrieval"][0] < 1


def test_datasets_loads_the_imagefolder(data, tmp_path):
    from datasets import load_dataset

    fdrd.export(data, tmp_path / "out", to="imagefolder")
    loaded = load_dataset("imagefolder", data_dir=str(tmp_path / "out" / "raw"), cache_dir=tmp_path)
    rows = loaded["test"]
    view = fdrd.load(data).view("test")
    assert sorted(rows["caption"]) == sorted(view.captions[c] for _, c in view.pairs)
    assert rows[0]["image"].size == (32, 32)


def test_torchvision_reads_the_classes_of_the_imagefolder(data, tmp_path):
    fdrd.export(data, tmp_path / "out", to="imagefolder")
    found = run(IMAGE_FOLDER, tmp_path / "out" / "raw", "torchvision")
    assert found == sorted(row[-1] for row in expected(data))


@pytest.mark.parametrize(
    ("layout", "script"), [("flickr30k_token", FLICKR30K), ("coco", COCO_2017)]
)
def test_torchvision_reads_the_layouts_of_our_tests(tmp_path, layout, script):
    """Then `test_layouts.py` proves that `fdrd build` reads what torchvision reads."""
    LAYOUTS[layout].write(tmp_path, PAIRS)
    found = run(script, tmp_path, "torchvision", "pycocotools")
    assert found == sorted(list(pair.captions) for pair in PAIRS)


def read(root):
    """Read a source of one domain without any rejection."""
    (domain,) = find_domains(root)
    items = list(read_domain(root, domain))
    assert all(isinstance(item, Record) for item in items), items
    return items


@pytest.mark.parametrize("form", ["webdataset", "files", "parquet"])
def test_what_img2dataset_writes_is_read(tmp_path, server, form):
    server.files |= {f"{pair.name}.png": pair.data for pair in PAIRS}
    rows = [[f"{server.url}/{pair.name}.png", pair.captions[0]] for pair in PAIRS]
    with (tmp_path / f"{form}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["url", "caption"], *rows])
    run(IMG2DATASET, tmp_path / form, "img2dataset")
    found = {
        (hashlib.sha256(read_image(str(tmp_path / form), item.image)).digest(), item.caption)
        for item in read(tmp_path / form)
    }
    assert found == {(hashlib.sha256(pair.data).digest(), pair.captions[0]) for pair in PAIRS}
