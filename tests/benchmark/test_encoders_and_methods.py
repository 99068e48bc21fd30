"""Methods on every kind of encoder, from the refusal before loading to a model that transformers loads."""

from __future__ import annotations

import pytest
import torch
from huggingface_hub import ModelCard, constants
from site_pages import compatibility
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

import benchmark
from benchmark import Images, load_backbone
from benchmark.models.encoders.stored import write_features
from benchmark.registry import method_names, takes
from benchmark.reporting.publishing import export_model
from benchmark.runner.runs import truncation
from fdrd.errors import FdrdError
from tests.command import run_fdrd
from tests.running import run_method
from tests.small_methods import parametrize_methods, small_options

TRAIN = {"epochs": 1, "batch_size": 24}


@pytest.fixture(scope="module")
def siglip(encoders):
    return encoders["siglip"]


def run(method, data, backbone, **asked):
    options = {**small_options(method), **asked.pop("options", {})}
    trains = {"train": TRAIN} if takes(method, "train") else {}
    if asked.get("checkpoint"):
        options, trains = {}, {}
    return run_method(method, data, backbone=backbone, options=options, **trains, **asked)


@parametrize_methods(sorted({*method_names()} - {"prolip"}))  # which trains the projections of CLIP
def test_every_method_runs_on_siglip(name, siglip, patches, quick_dataset, tmp_path):
    method = name
    first = run(method, quick_dataset, siglip, results=tmp_path)
    for checkpoint in tmp_path.glob("*.safetensors"):
        again = run(method, quick_dataset, siglip, checkpoint=checkpoint, hard_negatives=False)
        assert again.ranks == first.ranks
        with pytest.raises(FdrdError, match="give the same `backbone`"):
            run(method, quick_dataset, patches, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def patches(siglip):
    return load_backbone(f"{siglip.name}#pool=patches")


@pytest.mark.parametrize(
    ("method", "options", "encoder"),
    [
        *((name, {}, "siglip2") for name in ("zero_shot", "clip_adapter", "coop", "maple")),
        *((name, {}, "siglip2") for name in ("dcar", "full")),  # NaFlex
        *((name, {}, "align") for name in ("zero_shot", "random", "nnn", "dcar_plus")),
        ("clip_adapter", {"side": "both"}, "align"),  # which has pooled features only
        ("dcar", {"depth": 0}, "align"),
    ],
)
def test_methods_run_on_other_encoders(method, options, encoder, encoders, quick_dataset):
    assert run(method, quick_dataset, encoders[encoder], options=options).metrics is not None


def test_stored_features_give_the_ranks_of_their_encoder(siglip, tiny_dataset, tmp_path):
    write_features(siglip, tiny_dataset.values(), tmp_path / "stored")
    stored = load_backbone(f"features:{tmp_path / 'stored'}")
    for method in ("zero_shot", "nnn"):
        assert run(method, tiny_dataset, stored).ranks == run(method, tiny_dataset, siglip).ranks
    adapter = {"depth": 0, "lambda_cate": 0.0}  # stored features have no room for prompts
    assert run("dcar", tiny_dataset, stored, options=adapter).metrics is not None


@pytest.mark.parametrize("method", ["coop", "maple", "dcar", "filip", "full"])
def test_a_method_that_does_not_work_is_refused_before_loading(method, tiny_dataset, monkeypatch):
    plan = "benchmark.runner.plan.cached_backbone"
    monkeypatch.setattr(plan, lambda *_, **__: pytest.fail("loaded"))
    message = (
        rf"{method} needs .*, which the backbone st:model does not offer; these methods work on it: "
        r".*clip_adapter, dcar \(-M depth=0\), .*zero_shot"
    )
    with pytest.raises(FdrdError, match=message):
        benchmark.evaluate((method, small_options(method)), tiny_dataset, backbone="st:model")


@pytest.fixture
def exported(tiny_dataset, tmp_path):
    """Train a method and export its model; return the checkpoint, its result and the folder."""

    def export(method, backbone):
        if method == "lora":
            pytest.importorskip("peft")
        train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.02, "keep_untrained": False}
        asked = {"train": train, "results": tmp_path / "runs", "split": "validation"}
        result = run_method(method, tiny_dataset, backbone=backbone, **asked)
        (checkpoint,) = (tmp_path / "runs").glob("*.safetensors")
        return checkpoint, result, export_model(checkpoint, tmp_path / "model", backbone.name)

    return export


@pytest.mark.parametrize(
    ("method", "architecture"),
    [("lora", "clip"), ("lora", "siglip2"), ("full", "metaclip_2"), ("ce_clip", "siglip")],
)
def test_a_fine_tuned_model_is_loaded_by_transformers(
    method, architecture, exported, encoders, tiny_dataset
):
    backbone = encoders[architecture]
    checkpoint, result, folder = exported(method, backbone)
    model, report = type(backbone.model).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    tuned = benchmark.load_method(checkpoint, backbone=backbone)
    dataset = tiny_dataset["validation"]
    captions = dataset.captions[:3]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(dataset.images(range(3)), return_tensors="pt")
    options = {"padding": "max_length", "max_length": 24, "return_tensors": "pt"}
    ids = AutoTokenizer.from_pretrained(folder)(captions, **options)
    with torch.no_grad():
        for call, inputs, side, items in (
            (model.eval().get_image_features, pixels, "encode_image", Images.of(dataset)[:3]),
            (model.get_text_features, ids, "encode_text", captions),
        ):
            own = normalize(call(**inputs).pooler_output, dim=-1)
            after, before = (getattr(each, side)(items).pooled for each in (tuned, backbone))
            assert (own - after).abs().max() < 1e-5
            assert (after - before).abs().max() > 1e-4
    loaded = load_backbone(f"hf:{folder}")
    again = run_method("zero_shot", tiny_dataset, backbone=loaded, split="validation")
    for direction in ("image_to_text", "text_to_image"):
        assert again.metrics.by_direction[direction] == result.metrics.by_direction[direction]


def test_a_pushed_model_is_loaded_by_transformers(hub, exported, siglip, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    _, result, folder = exported("full", siglip)
    (folder / "README.md").write_text("mine")
    code, output, _ = run_fdrd("push", folder, "--repo-id", "org/tuned")
    assert code == 0, output
    assert "fdrd bench --method zero_shot --backbone org/tuned" in output
    here, there = AutoModel.from_pretrained(folder), AutoModel.from_pretrained("org/tuned")
    for name, weight in here.state_dict().items():
        assert torch.equal(weight, there.state_dict()[name])
    local = load_backbone(str(folder), device="cpu").fingerprint
    assert load_backbone("org/tuned", device="cpu").fingerprint == local
    card = ModelCard.load("org/tuned")
    kind = (card.data.library_name, card.data.pipeline_tag)
    assert kind == ("transformers", "zero-shot-image-classification")
    assert 'AutoModel.from_pretrained("org/tuned")' in card.text
    recalls = {each.metric_type: each.metric_value for each in card.data.eval_results}
    side = result.metrics.by_direction["image_to_text"]
    assert recalls["image_to_text_recall_at_5"] == side["R@5"]
    repository = hub.repository("org/tuned", "model")
    files = {path: repository.content(f) for path, f in repository.resolve("main").files.items()}
    assert not any(str(tmp_path).encode() in content for content in files.values())


def test_a_folder_without_a_training_is_not_pushed(hub, siglip):
    message = r"not a model that `fdrd export --to transformers` wrote .*`hf upload org/m"
    with pytest.raises(FdrdError, match=message):
        benchmark.push(siglip.name, "org/m")


def test_a_pushed_checkpoint_of_a_fine_tuning_names_the_other_way(hub, exported, siglip):
    checkpoint, _, _ = exported("full", siglip)
    _, _, told = run_fdrd("push", checkpoint, "--repo-id", "org/m", "--dry-run")
    assert "push the folder that `fdrd export" in " ".join(told.split())


@pytest.mark.parametrize("name", ["coop", "dcar_tuned"])
def test_a_method_that_is_not_one_model_is_not_exported(name, exported, siglip):
    with pytest.raises(FdrdError, match="is no model by itself: its backbone is frozen"):
        exported(name, siglip)


def test_truncated_captions_are_counted_by_the_encoders_tokenizer(siglip):
    captions = ["a cat", "red " * 30, "a dog", "red " * 23]
    assert truncation(siglip, captions) == (
        f"1 of 4 captions are longer than the 24 tokens of {siglip.name} and were truncated "
        f"(longest: 31 tokens)."
    )


def test_a_result_has_the_share_of_truncated_captions(siglip, tiny_dataset, monkeypatch):
    captions = tiny_dataset["test"].captions
    lengths = {each: siglip.context + number % 2 for number, each in enumerate(captions)}
    count = lambda _, captions: [lengths[each] for each in captions]  # noqa: E731
    monkeypatch.setattr(type(siglip), "count_tokens", count)
    found = run("zero_shot", tiny_dataset, siglip).truncated
    assert found == (len(captions) // 2) / len(captions)
    assert run("random", tiny_dataset, None).truncated is None


@pytest.mark.parametrize(("column", "name"), [(2, "siglip2"), (3, "align")])
def test_a_method_of_the_table_that_says_no_is_refused(column, name, encoders, tiny_dataset):
    for row in compatibility()[1:]:
        if row[column].startswith("no"):
            with pytest.raises(FdrdError, match="does not offer"):
                run_method(row[0].strip("`"), tiny_dataset, backbone=encoders[name])
