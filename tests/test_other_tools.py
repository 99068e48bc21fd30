"""`clip_benchmark`, in its own environment, agrees with fdrd on a model of open_clip and on data."""

import contextlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fdrd
from tests.command import run_fdrd
from tests.folders import caches_in

pytestmark = pytest.mark.slow

WRITE_MODEL = """
import json, sys
from pathlib import Path
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

torch.manual_seed(0)
config = json.loads(sys.argv[1])
model = CLIP(**config).eval()
for each in model.parameters():  # also norms and biases, which would be 1 and 0
    each.data.add_(0.05 * torch.randn_like(each))
folder = Path("gelu")
folder.mkdir()
save_file(model.state_dict(), folder / "open_clip_model.safetensors")
(folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
"""


TASK = "zeroshot_classification"
MODEL = ("--no_amp", "--model", "local-dir:gelu", "--pretrained", "none")


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A folder, and a function that runs programs of an environment with clip_benchmark and open_clip there."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=folder, check=True)
    programs = folder / "venv" / "bin"
    wanted = ["torch", "torchvision", "open_clip_torch", "clip_benchmark"]
    # clip_benchmark 1.6.2 imports requests without requiring it, and needs an older numpy.
    wanted += ["requests", "numpy<2.4"]
    install = [programs / "python", "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(install, capture_output=True, text=True)
    if "(from versions: none)" in done.stderr:
        pytest.skip("clip_benchmark cannot be installed: no package index can be reached")
    assert done.returncode == 0, done.stderr
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }

    def run(program, *arguments):
        command = [programs / program, *map(str, arguments)]
        options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run(command, **options)
        assert done.returncode == 0, done.stderr

    yield SimpleNamespace(folder=folder, run=run)
    subprocess.run(["rm", "-rf", folder / "venv"], check=True)  # 1.5 GB


@pytest.fixture(scope="module")
def models(tools):
    """The folder of the model `gelu`, with weights from open_clip."""
    vision = {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    tools.run("python", "-c", WRITE_MODEL, json.dumps(config))
    return tools.folder


@pytest.fixture(scope="module")
def byte_pairs(tools):
    (file,) = tools.folder.glob("venv/lib/*/site-packages/open_clip/bpe_simple_vocab_16e6.txt.gz")
    return str(file)


def draw(folder):
    """Write 90 images of the split `test`, some with two captions."""
    from PIL import Image

    chance = np.random.default_rng(0)
    place = folder / "raw" / "birds" / "test"
    lines = []
    for number in range(90):
        category = ("wren", "robin", "tit")[number % 3]
        path = place / category / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        corners = chance.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(corners).resize((64, 64), Image.Resampling.BICUBIC).save(path)
        texts = [f"A {category}, number {number}."]
        texts += [f"Branch {number * 7} carries a {category}."] if number % 4 == 1 else []
        lines += [{"file_name": f"{category}/{path.name}", "text": text} for text in texts]
    (place / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_clip_benchmark_and_fdrd_bench_report_the_same_recalls(models, byte_pairs, tools, tmp_path):
    """But for one query: scores within 1e-6 may rank either way."""
    draw(tmp_path)

    def fdrd(*arguments):
        with contextlib.chdir(tmp_path), caches_in(tmp_path):
            code, out, err = run_fdrd(*arguments)
        assert code == 0, err
        return out

    fdrd("build", "--source", "raw", "--workers", "1")
    output = fdrd("export", "data/fdrd", "--to", "webdataset", tools.folder / "wds")
    fdrd("export", models / "gelu", "clip", "--to", "transformers", "--tokenizer", byte_pairs)
    bench = ("bench", "--method", "zero_shot", "--data", "data/fdrd", "--backbone", "clip")
    (ours,) = json.loads(fdrd(*bench, "--json"))

    cutoffs = (1, 2, 5, 10, 20, 40, 80)
    command = output.split("Next:  ")[1].split("--recall_k")[0].split()
    assert command[:2] == ["clip_benchmark", "eval"]
    tools.run(*command, "--recall_k", *cutoffs, *MODEL, "--output", "theirs.json")
    theirs = json.loads((tools.folder / "theirs.json").read_text())["metrics"]

    for direction, name in (
        ("image_to_text", "text_retrieval"),
        ("text_to_image", "image_retrieval"),
    ):
        ranks = np.array(ours["ranks"][direction]["strict"].split(), dtype=int)
        for k in cutoffs:
            recall = pytest.approx((ranks <= k).mean(), abs=1.5 / len(ranks))
            assert theirs[f"{name}_recall@{k}"] == recall


def test_clip_benchmark_reads_classes(models, tools, tmp_path):
    draw(tmp_path)
    with caches_in(tmp_path):
        fdrd.build(tmp_path / "raw", tmp_path / "data", workers=1)
    fdrd.export(tmp_path / "data", tools.folder / "classes", to="webdataset", task=TASK)
    data = ("--dataset", "wds/birds", "--dataset_root", "classes/birds", "--task", TASK)
    output = ("--output", "classes.json", "--dump_classnames")
    tools.run("clip_benchmark", "eval", *data, *MODEL, *output)
    said = json.loads((tools.folder / "classes.json").read_text())
    assert said["classnames"] == ["robin", "tit", "wren"]
    assert 0 <= said["metrics"]["acc1"] <= 1
