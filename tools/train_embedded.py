"""Train the embedded backbone from scratch: a small CLIPModel for the language of the field guide.

    python tools/train_embedded.py --work drawn/ --out benchmark/models/embedded

Data: drawings of *base* categories with their captions, and general captions of the same drawings
that name no category. No demo category, photograph or other model is used. The last base categories
are held out for validation.

Loss: symmetric InfoNCE over the batch, plus a classification of every trait that an image shows and
a caption mentions. The classifier has one vector per trait value, shared by both towers and
discarded afterwards. Half of each batch shares a meta-category, so that details have to distinguish
the pairs.

The weights in the repository are of edition 1 of the field guide, git tag `field-guide-1`.

The drawings are kept in `--work` and a checkpoint is written after each epoch, so the same command
resumes. `train.jsonl` in `--out` is the log.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, pad
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from benchmark import info_nce
from fdrd.engines import open_engine
from fdrd.field_guide import available, categories, draw
from fdrd.field_guide.caption import article, listed, typed, unmark
from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.sighting import LIGHTS, PLACES, Sighting, sight

HELD_OUT = 264
"""Base categories at the end of the pool, held out from training."""

MASKED = -100
"""Label that cross-entropy ignores."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines the weights, except the rounding of a machine."""

    seed: int = 20261124
    images: int = 25
    size: int = 128
    patch: int = 16
    width: int = 192
    vision_layers: int = 5
    text_layers: int = 4
    vocabulary: int = 2048
    batch: int = 256
    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: int = 300
    trait_weight: float = 1.0
    general_share: float = 0.3
    shift: int = 6


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `count` rows of the table of value vectors from `start` on, one of them correct."""

    start: int
    count: int


class Traits:
    """Numbers of all trait values, and which of them an image shows or a text mentions."""

    def __init__(self) -> None:
        self._questions: dict[tuple[str, str], tuple[Question, dict[str, int]]] = {}
        self.values = 0
        self._add(("", "kind"), [kind.name for kind in meta_categories()])
        self._add(("", "place"), list(PLACES))
        self._add(("", "light"), list(LIGHTS))
        self._add(("", "count"), ["1", "2", "3"])
        for kind in meta_categories():
            for trait in kind.traits:
                self._add((kind.name, trait.name), [value.key for value in trait.values])
        self.questions = [question for question, _ in self._questions.values()]
        self._order = {key: place for place, key in enumerate(self._questions)}

    def _add(self, key: tuple[str, str], values: list[str]) -> None:
        numbered = {value: number for number, value in enumerate(values)}
        self._questions[key] = (Question(self.values, len(values)), numbered)
        self.values += len(values)

    def shown(self, sighting: Sighting, size: int) -> list[int]:
        """Return the answer of an image to each question, or `MASKED`."""
        kind = sighting.category.kind
        found = [MASKED] * len(self.questions)
        mentioned = {
            ("", "kind"): kind.name,
            ("", "place"): sighting.place,
            ("", "light"): sighting.light,
            ("", "count"): str(sighting.count),
        }
        for trait in kind.traits:
            hidden = trait.unless and sighting.values[trait.unless[0]] in trait.unless[1]
            if trait.legible <= sighting.share * size and not hidden:
                mentioned[kind.name, trait.name] = sighting.values[trait.name]
        for key, value in mentioned.items():
            found[self._order[key]] = self._questions[key][1][value]
        return found

    def mentioned(self, text: str, sighting: Sighting, shown: list[int]) -> list[int]:
        """Keep the answers in `shown` that the text mentions."""
        kind = sighting.category.kind
        said = text.lower()
        keep = {self._order["", "kind"]} if kind.name in said or kind.plural in said else set()
        keep |= {self._order["", "place"]} if f" {sighting.place}" in said else set()
        if sighting.light != "day" and any(word in said for word in ("evening", "golden", "dusk")):
            keep.add(self._order["", "light"])
        if sighting.count > 1:
            keep.add(self._order["", "count"])
        for trait in kind.traits:
            for words in trait.words_of(sighting.values[trait.name]):
                plain = unmark(typed(words, trait.type))[0].replace("its ", "").lower()
                if plain in said.replace("its ", ""):
                    keep.add(self._order[kind.name, trait.name])
        return [answer if place in keep else MASKED for place, answer in enumerate(shown)]


def general_caption(sighting: Sighting, size: int, chance: np.random.Generator) -> str:
    """Return a caption with the meta-category and up to three traits."""
    kind = sighting.category.kind
    words: dict[str, list[str]] = {"adjective": [], "with": [], "doing": []}
    for trait in kind.traits:
        phrases = trait.words_of(sighting.values[trait.name])
        hidden = trait.unless and sighting.values[trait.unless[0]] in trait.unless[1]
        if phrases and not hidden and trait.legible <= sighting.share * size:
            phrase = phrases[chance.integers(len(phrases))]
            words[trait.slot].append(unmark(typed(phrase, trait.type))[0])
    color = words["adjective"][0] + " " if words["adjective"] and chance.random() < 0.5 else ""
    noun = {1: article(color + kind.name), 2: f"two {color}{kind.plural}"}.get(
        sighting.count, f"three {color}{kind.plural}"
    )
    opener = ("", "", "a photo of ", "a picture of ")[chance.integers(4)]
    text = opener + noun
    having = list(chance.permutation(words["with"]))[: chance.integers(0, 4)]
    if having:
        text += f" with {listed(having)}"
    if words["doing"] and chance.random() < 0.5:
        text += f", {words['doing'][chance.integers(len(words['doing']))]}"
    if chance.random() < 0.2:
        text += f" on {sighting.place}"
    return text


@dataclass(frozen=True, slots=True)
class Drawings:
    """N drawings with what they show: `pixels` (N, size, size, 3) uint8 on disk."""

    pixels: np.ndarray[Any, Any]
    sightings: list[Sighting]
    captions: list[str]


def _drawn(pool_index: int, images: int, size: int, seed: int) -> tuple[np.ndarray[Any, Any], Any]:
    (category,) = categories(1, "base", pool_index)
    plates = [draw(category, image, seed=seed, size=size) for image in range(images)]
    pixels = np.stack([np.asarray(plate.image) for plate in plates])
    return pixels, [plate.caption for plate in plates]


def drawings(work: Path, recipe: Recipe, first: int, count: int, images: int) -> Drawings:
    """Draw base categories, or find them drawn in `work`."""
    stem = work / f"{first}-{count}-{images}-{recipe.size}-{recipe.seed}"
    texts, pixels = stem.with_suffix(".json"), stem.with_suffix(".u8")
    shape = (count * images, recipe.size, recipe.size, 3)
    if not texts.is_file():
        whole = np.memmap(pixels, np.uint8, "w+", shape=shape)
        captions: list[str] = []
        with open_engine("local", 2) as engine:
            numbers = range(first, first + count)
            drawn = engine.run(_drawn, numbers, images, recipe.size, recipe.seed)
            for number, (found, written) in enumerate(drawn):
                whole[number * images : (number + 1) * images] = found
                captions += written
                if number % 100 == 99:
                    print(f"drawn {len(captions):,} of {count * images:,}", flush=True)
        whole.flush()
        texts.write_text(json.dumps(captions), encoding="utf-8")
    captions = json.loads(texts.read_text(encoding="utf-8"))
    sightings = [
        sight(category, image, recipe.seed)
        for category in categories(count, "base", first)
        for image in range(images)
    ]
    return Drawings(np.memmap(pixels, np.uint8, "r", shape=shape), sightings, captions)


def mixed_captions(
    data: Drawings, rows: np.ndarray[Any, Any], recipe: Recipe, chance: np.random.Generator
) -> list[str]:
    """Return the captions of some drawings, a share of them replaced by general ones."""
    return [
        general_caption(data.sightings[row], recipe.size, chance)
        if chance.random() < recipe.general_share
        else data.captions[row]
        for row in rows
    ]


def tokenizer_of(texts: Iterator[str], size: int) -> CLIPTokenizer:
    """Return a tokenizer of CLIP's class with byte pairs learned from these texts."""
    blank = CLIPTokenizer()
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    learner.normalizer = blank.backend_tokenizer.normalizer
    learner.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    special = ["<|startoftext|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size - len(special),
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    vocabulary = dict(learned["vocab"])
    # A letter at the end of a word is a token, so that any text can be encoded.
    for letter in alphabet:
        vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    for word in special:
        vocabulary[word] = len(vocabulary)
    merges = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def new_model(recipe: Recipe, tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return a CLIPModel with random weights."""
    torch.manual_seed(recipe.seed)
    shared = {
        "hidden_size": recipe.width,
        "intermediate_size": 4 * recipe.width,
        "num_attention_heads": recipe.width // 64,
        "projection_dim": recipe.width,
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=recipe.text_layers,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        **shared,
    )
    vision = CLIPVisionConfig(
        image_size=recipe.size,
        patch_size=recipe.patch,
        num_hidden_layers=recipe.vision_layers,
        **shared,
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=recipe.width,
        )
    )


def image_processor_of(recipe: Recipe) -> CLIPImageProcessorPil:
    """Return CLIP's preprocessing at this backbone's size."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": recipe.size},
        crop_size={"height": recipe.size, "width": recipe.size},
    )


class Pixels:
    """Turn uint8 (B, size, size, 3) into the image processor's output, optionally shifted."""

    def __init__(self, processor: CLIPImageProcessorPil, shift: int):
        self._mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
        self._shift = shift

    def __call__(self, raw: np.ndarray[Any, Any], chance: np.random.Generator | None) -> Tensor:
        """Return (B, 3, size, size), shifted by up to `shift` pixels if a generator is given."""
        pixels = (
            torch.from_numpy(np.ascontiguousarray(raw.transpose(0, 3, 1, 2))).float() / 255
            - self._mean
        ) / self._std
        if chance is None:
            return pixels
        size, s = pixels.shape[-1], self._shift
        padded = pad(pixels, (s, s, s, s), mode="replicate")
        offsets = chance.integers(0, 2 * s + 1, (len(raw), 2))
        moved = [
            image[:, y : y + size, x : x + size]
            for image, (y, x) in zip(padded, offsets, strict=True)
        ]
        return torch.stack(moved)


def read(pixels: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the drawings of these rows, read in disk order."""
    order = np.argsort(rows)
    found = np.empty((len(rows), *pixels.shape[1:]), np.uint8)
    found[order] = pixels[rows[order]]
    return found


def embed(model: CLIPModel, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit features of images and captions, each (B, D)."""
    seen = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    read = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    return normalize(seen.float(), dim=-1), normalize(read.float(), dim=-1)


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return (B, T) token ids padded with EOS, which a causal tower ignores."""
    rows = tokenizer(captions, truncation=True, max_length=77)["input_ids"]
    width = max(map(len, rows))
    return torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in rows])


def trait_loss(
    features: Tensor, table: Tensor, scale: Tensor, traits: Traits, answers: Tensor
) -> Tensor:
    """Return the mean cross-entropy of the answered questions; `answers` is (B, Q)."""
    logits = scale.exp() * features @ normalize(table, dim=-1).T
    losses, asked = [], 0
    for place, question in enumerate(traits.questions):
        rows = answers[:, place] != MASKED
        if number := int(rows.sum()):
            chosen = logits[rows, question.start : question.start + question.count]
            losses.append(cross_entropy(chosen, answers[rows, place], reduction="sum"))
            asked += number
    return torch.stack(losses).sum() / max(asked, 1)


def batches(kinds: np.ndarray[Any, Any], size: int, chance: np.random.Generator) -> Iterator[Any]:
    """Yield each row once; half of a batch is mixed, half of one meta-category."""
    order = chance.permutation(len(kinds))
    half = size // 2
    mixed, kept = order[: len(order) // 2], order[len(order) // 2 :]
    kept = kept[np.argsort(kinds[kept], kind="stable")]
    steps = len(mixed) // half
    for step in chance.permutation(steps):
        part = slice(step * half, (step + 1) * half)
        yield np.concatenate([mixed[part], kept[part]])


@torch.no_grad()
def validation(
    model: CLIPModel, tokenizer: CLIPTokenizer, pixels: Pixels, data: Drawings
) -> dict[str, float]:
    """Return R@1 in galleries of 400 in both directions, with pessimistic ties."""
    model.eval()
    seen, read = [], []
    for start in range(0, len(data.captions), 200):
        part = slice(start, start + 200)
        features = embed(
            model, pixels(data.pixels[part], None), token_ids(tokenizer, data.captions[part])
        )
        seen.append(features[0])
        read.append(features[1])
    model.train()
    images, texts = torch.cat(seen), torch.cat(read)
    order = np.random.default_rng(0).permutation(len(images))
    found: dict[str, list[float]] = {"i2t": [], "t2i": []}
    for start in range(0, len(order) - 399, 400):
        rows = torch.from_numpy(order[start : start + 400])
        scores = images[rows] @ texts[rows].T
        own = scores.diag()
        found["i2t"].append(((scores >= own[:, None]).sum(1) == 1).float().mean().item())
        found["t2i"].append(((scores >= own[None, :]).sum(0) == 1).float().mean().item())
    return {way: round(100 * float(np.mean(hits)), 2) for way, hits in found.items()}


def adamw(model: CLIPModel, heads: list[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """Return the optimizer; vectors and heads have no weight decay."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain + heads, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Return the rate of a step: linear warm-up, then cosine."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    turn = math.pi * (step - recipe.warm_up) / (total - recipe.warm_up)
    return recipe.learning_rate * 0.5 * (1 + math.cos(turn))


def progress(epoch: int, step: int, steps: int, sums: Any, began: float, batch: int) -> str:
    """Describe the running epoch in one line."""
    pairs, images, texts = sums[:3] / sums[3]
    speed = batch * (step + 1) / (time.perf_counter() - began)
    return (
        f"epoch {epoch + 1} step {step + 1}/{steps}: pairs {pairs:.3f}, images {images:.3f}, "
        f"texts {texts:.3f}, {speed:.0f} pairs/s"
    )


def train(recipe: Recipe, work: Path, out: Path) -> None:
    """Draw, train, save."""
    torch.set_num_threads(2)
    count = available("base") - HELD_OUT
    data = drawings(work, recipe, 0, count, recipe.images)
    held_out = drawings(work, recipe, count, HELD_OUT, 10)
    print(f"{len(data.captions):,} drawings of {count:,} categories", flush=True)

    traits = Traits()
    shown = [traits.shown(sighting, recipe.size) for sighting in data.sightings]
    kinds = np.array([answers[0] for answers in shown])
    chance = np.random.default_rng(recipe.seed)
    general = (general_caption(s, recipe.size, chance) for s in data.sightings)
    tokenizer = tokenizer_of(
        (t for pair in zip(data.captions, general, strict=True) for t in pair), recipe.vocabulary
    )
    model = new_model(recipe, tokenizer).train()
    pixels = Pixels(image_processor_of(recipe), recipe.shift)
    table = nn.Parameter(torch.randn(traits.values, recipe.width) * 0.02)
    trait_scale = nn.Parameter(torch.tensor(math.log(10.0)))
    heads = [table, trait_scale]
    optimizer = adamw(model, heads, recipe)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {len(tokenizer)} tokens", flush=True)

    steps = len(data.captions) // 2 // (recipe.batch // 2)
    total = steps * recipe.epochs

    out.mkdir(parents=True, exist_ok=True)
    log, checkpoint = out / "train.jsonl", work / "checkpoint.safetensors"
    first = _resume(checkpoint, model, heads, optimizer)
    if first == 0:
        log.write_text(json.dumps(asdict(recipe)) + "\n", encoding="utf-8")
    for epoch in range(first, recipe.epochs):
        chance = np.random.default_rng((recipe.seed, epoch))
        began, sums = time.perf_counter(), np.zeros(4)
        for step, rows in enumerate(batches(kinds, recipe.batch, chance)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch * steps + step, total)
            captions = mixed_captions(data, rows, recipe, chance)
            seen = [shown[row] for row in rows]
            told = zip(captions, (data.sightings[row] for row in rows), seen, strict=True)
            mentioned = torch.tensor([traits.mentioned(*each) for each in told])
            with torch.autocast("cpu", torch.bfloat16):
                images, texts = embed(
                    model, pixels(read(data.pixels, rows), chance), token_ids(tokenizer, captions)
                )
            logits = model.logit_scale.exp() * images @ texts.T
            pairs = info_nce(logits)
            on_images = trait_loss(images, table, trait_scale, traits, torch.tensor(seen))
            on_texts = trait_loss(texts, table, trait_scale, traits, mentioned)
            loss = pairs + recipe.trait_weight * (on_images + on_texts)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            sums += (pairs.item(), on_images.item(), on_texts.item(), 1)
            if step % 20 == 19:
                print(progress(epoch, step, steps, sums, began, recipe.batch), flush=True)
        pairs, images, texts = (sums[:3] / sums[3]).round(4).tolist()
        line = {
            "epoch": epoch + 1,
            "pairs": pairs,
            "images": images,
            "texts": texts,
            "logit_scale": round(model.logit_scale.exp().item(), 2),
            "seconds": round(time.perf_counter() - began),
            "validation_r1_of_400": validation(model, tokenizer, pixels, held_out),
        }
        print(line, flush=True)
        with log.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        _keep(checkpoint, model, heads, optimizer, epoch + 1)
    model.eval().to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    image_processor_of(recipe).save_pretrained(out)


def _keep(
    path: Path, model: CLIPModel, heads: list[nn.Parameter], optimizer: Any, epoch: int
) -> None:
    state = {f"model.{k}": v for k, v in model.state_dict().items()}
    state |= {f"head.{n}": p.data for n, p in enumerate(heads)}
    for n, slots in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{n}.{k}": torch.as_tensor(v) for k, v in slots.items()}
    half = path.with_suffix(".half")
    save_file({k: v.contiguous().clone() for k, v in state.items()}, half, {"epoch": str(epoch)})
    half.replace(path)


def _resume(path: Path, model: CLIPModel, heads: list[nn.Parameter], optimizer: Any) -> int:
    if not path.is_file():
        return 0
    state = load_file(path)
    model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
    for n, head in enumerate(heads):
        head.data.copy_(state[f"head.{n}"])
    kept: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith("optimizer."):
            _, number, slot = key.split(".")
            kept.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": kept})
    with safe_open(path, "pt") as opened:
        return int(opened.metadata()["epoch"])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="drawings and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished backbone")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    work, out = given.pop("work"), given.pop("out")
    work.mkdir(parents=True, exist_ok=True)
    train(Recipe(**given), work, out)


if __name__ == "__main__":
    main()
