"""Loading a backbone by name, and the error messages."""

import importlib
import shutil

import pytest

from benchmark.models.loading import DEFAULT_BACKBONE, default_backbone, load_backbone
from fdrd.errors import FdrdError


@pytest.fixture
def loader(saved_clip, tmp_path):
    file = tmp_path / "my_clip.py"
    file.write_text(
        "from transformers import AutoTokenizer as T, CLIPImageProcessorPil as P, CLIPModel as M\n"
        f"HOME = {str(saved_clip)!r}\n"
        "def load():\n"
        "    return tuple(each.from_pretrained(HOME) for each in (M, T, P))\n"
        "def half():\n"
        "    return load()[:2]\n"
    )
    return file


@pytest.mark.parametrize("where", ["file", "package"])
def test_a_function_is_called(loader, tiny_clip, monkeypatch, where):
    monkeypatch.syspath_prepend(loader.parent)
    importlib.invalidate_caches()
    spec = f"{loader}:load" if where == "file" else "my_clip:load"
    loaded = load_backbone(spec, allow_code=True, device="cpu")
    assert loaded.fingerprint == tiny_clip.fingerprint
    assert loaded.name == spec


def test_only_the_command_line_may_name_a_function(loader, tmp_path):
    loader.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef load(): pass\n")
    with pytest.raises(FdrdError, match="only the command line may name"):
        load_backbone(f"{loader}:load")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such.py:load", "cannot be imported .*no such file"),
        ("no_such_package:load", "no_such_package cannot be imported"),
        ("my_clip.py:lode", "has no function 'lode'"),
        ("my_clip.py:HOME", "has no function 'HOME'"),
        ("my_clip.py:half", r"must return \(model, tokenizer, .*\(CLIPModel, \w+\)"),
        ("./nowhere", r"has no config\.json"),
    ],
)
def test_loading_errors_name_the_problem(loader, spec, message, monkeypatch):
    monkeypatch.chdir(loader.parent)
    with pytest.raises(FdrdError, match=message):
        load_backbone(spec, allow_code=True)


def test_a_folder_without_a_tokenizer_says_what_it_needs(saved_clip, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(saved_clip / name, bare)
    with pytest.raises(FdrdError, match=r"needs model\.safetensors, a tokenizer"):
        load_backbone(str(bare))


def test_an_unreachable_hub_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FdrdError, match="downloading it from the Hub failed") as raised:
        load_backbone("org/no-such-clip")
    assert "give `backbone` a local folder" in str(raised.value)


def test_the_manifest_names_the_default_backbone(tmp_path):
    assert default_backbone(tmp_path) == DEFAULT_BACKBONE
    (tmp_path / "manifest.json").write_text('{"backbone": "org/name"}')
    assert default_backbone(tmp_path) == "org/name"
