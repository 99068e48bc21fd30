"""A second, plain implementation of CLIP that methods are compared with, in logits, loss and gradients.

It shares nothing with the package but tensors: it reads the weights of a random CLIP and runs one caption or image
at a time, without padding, hooks or batches. The test file of a method has the reference of its paper on top of it.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from benchmark import get_method
from benchmark.models.image_batches import PixelCache
from benchmark.training.loop import batches

ONE_WAY = {"loss": "image_to_text"}

PAIRS = 3
"""Pairs of the compared batch: each is a pass of both plain towers, forth and back."""


class PlainCLIP:
    """CLIP (arXiv 2103.00020) written out, over the weights of a `CLIPModel`."""

    def __init__(self, backbone):
        self.weights = dict(backbone.model.named_parameters())
        self.tokenizer = backbone.tokenizer
        self.pixels = PixelCache(backbone.image_processor)
        self.heads = 4
        self.scale = self.weights["logit_scale"].exp().float()

    def norm(self, x, name):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(x, weight.shape, weight, bias, 1e-5)

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def block(self, x, name, causal):
        h = self.norm(x, f"{name}.layer_norm1")
        q, k, v = (
            self.linear(h, f"{name}.self_attn.{part}_proj").view(len(x), self.heads, -1)
            for part in "qkv"
        )
        scores = torch.einsum("thc,shc->hts", q, k) / q.shape[-1] ** 0.5
        if causal:
            above = torch.ones(len(x), len(x)).triu(1).bool()
            scores = scores.masked_fill(above, -torch.inf)
        mixed = torch.einsum("hts,shc->thc", scores.softmax(-1), v).reshape(len(x), -1)
        x = x + self.linear(mixed, f"{name}.self_attn.out_proj")
        h = self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        return x + self.linear(h * torch.sigmoid(1.702 * h), f"{name}.mlp.fc2")

    def text_states(self, caption, context=None, before=lambda _layer, x: x):
        """Return final states (T, width): context follows BOS and has positions; `before` edits a layer's input."""
        table = self.weights["text_model.embeddings.token_embedding.weight"]
        x = table[torch.tensor(self.tokenizer(caption)["input_ids"])]
        if context is not None:
            x = torch.cat([x[:1], context, x[1:]])
        x = x + self.weights["text_model.embeddings.position_embedding.weight"][: len(x)]
        for layer in range(3):
            x = self.block(before(layer, x), f"text_model.encoder.layers.{layer}", causal=True)
        return self.norm(x, "text_model.final_layer_norm") @ self.projection("text")

    def image_states(self, pixels, tokens=None, before=lambda _layer, x: x):
        """Return final normalized states (1 + P + n, width); n `tokens` follow the patches, without positions."""
        kernel = self.weights["vision_model.embeddings.patch_embedding.weight"]
        patches = (
            torch.nn.functional.conv2d(pixels[None].double(), kernel, stride=16)[0].flatten(1).T
        )
        x = torch.cat([self.weights["vision_model.embeddings.class_embedding"][None], patches])
        x = x + self.weights["vision_model.embeddings.position_embedding.weight"]
        x = self.norm(x if tokens is None else torch.cat([x, tokens]), "vision_model.pre_layrnorm")
        for layer in range(3):
            x = self.block(before(layer, x), f"vision_model.encoder.layers.{layer}", causal=False)
        return self.norm(x, "vision_model.post_layernorm")

    def projection(self, tower):
        return self.weights[f"{'visual' if tower == 'image' else tower}_projection.weight"].T

    def texts(self, captions, **edits):
        states = torch.stack([self.text_states(caption, **edits)[-1] for caption in captions])
        return normalize(states, dim=-1).float()

    def images(self, images, **edits):
        states = [self.image_states(pixels, **edits)[0] for pixels in self.pixels.of(images)]
        return normalize(torch.stack(states) @ self.projection("image"), dim=-1).float()


def cross_entropy(logits, right):
    """Return the mean of -log softmax at the right column of each row."""
    rows = range(len(logits))
    chosen = torch.stack([logits[row, right[row]] for row in rows])
    return (logits.exp().sum(1).log() - chosen).mean()


def symmetric(logits, direction="symmetric"):
    size = len(logits)
    to_text = cross_entropy(logits, range(size))
    to_image = cross_entropy(logits[:, :size].T, range(size))
    return to_text if direction == "image_to_text" else (to_text + to_image) / 2


def deep_text(prompts):
    """Return an edit that replaces the context after BOS in every layer but the first."""

    def before(layer, x):
        if not 0 < layer < len(prompts):
            return x
        return torch.cat([x[:1], prompts[layer], x[1 + len(prompts[0]) :]])

    return before


def deep_vision(prompts):
    """Return an edit that replaces the tokens after the patches in every layer but the first."""

    def before(layer, x):
        return torch.cat([x[: -len(prompts[0])], prompts[layer]]) if layer else x

    return before


def both_prompted(clip, batch, text, vision):
    images = clip.images(batch.images, tokens=vision[0], before=deep_vision(vision))
    return images, clip.texts(batch.captions, context=text[0], before=deep_text(text))


def coupled(prompts):
    text = list(prompts.context.text)
    maps = prompts.couplings
    return text, [t @ m.weight.T + m.bias for t, m in zip(text, maps, strict=True)]


def bottleneck(x, adapter, ratio):
    inner, last = adapter.inner[0].weight, adapter.inner[2].weight
    learned = torch.relu(torch.relu(x @ inner.T) @ last.T)
    return normalize(ratio * learned + (1 - ratio) * x, dim=-1)


def fine_tuned_logits(clip, batch, negatives):
    """Return logits with captions (B, B), with the own negatives (list of B lists), and all text features."""
    images, texts = clip.images(batch.images), clip.texts(batch.captions)
    others = [[clip.texts([n])[0] for n in row if n] for row in negatives]
    own = [[clip.scale * image @ n for n in row] for image, row in zip(images, others, strict=True)]
    return clip.scale * images @ texts.T, own, (images, texts, others)


def with_negatives(clip, logits, images, others):
    every = torch.stack([n for row in others for n in row])
    return torch.cat([logits, clip.scale * images @ every.T], dim=1)


def compare(method, batch, logits, mine, loss):
    """Check logits, loss and the gradient of every learned parameter."""
    with torch.no_grad():
        found = method.similarity(
            method.encode_image(batch.images), method.encode_text(batch.captions)
        )
    assert method.backbone.logit_scale * found == pytest.approx(logits.detach(), abs=1e-5)
    assert mine.item() == pytest.approx(loss.item(), rel=1e-5)
    learned = [each for each in method.learner.parameters() if each.requires_grad]
    gradients = [torch.autograd.grad(value, learned) for value in (mine, loss)]
    largest = max(float(each.abs().max()) for each in gradients[1])
    for one, other in zip(*gradients, strict=True):
        allowed = (
            1e-5 * float(other.abs().max()) + 1e-7 * largest
        )  # keys have a bias without effect
        assert one == pytest.approx(other, abs=allowed)


def doubled(make_clip):
    """Return a backbone whose rounding is far below any mistake."""
    backbone = make_clip()
    backbone.model.double()
    return backbone


def check_equal(name, reference, make_clip, tiny_dataset, **options):
    """Check a method that leaves the backbone frozen against `reference(clip, learner, batch)`."""
    backbone = doubled(make_clip)
    method = get_method(name)(backbone, **options)
    method.learner.train()
    torch.manual_seed(0)
    with torch.no_grad():  # away from zero and identity, where a missing term would not show
        for parameter in method.learner.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    batch = next(batches(tiny_dataset["train"], PAIRS, 0, 0))
    logits, loss = reference(PlainCLIP(backbone), method.learner, batch)
    compare(method, batch, logits, method.loss(batch), loss)


def check_fine_tuning_equal(name, reference, make_clip, tiny_dataset, **buffers):
    """Check a method that trains a copy against `reference(clip, learner, batch, negatives)`.

    Captions of the data offer swaps of the category only, so half of the places are empty.
    """
    method = get_method(name)(doubled(make_clip))
    for buffer, values in buffers.items():
        getattr(method.learner, buffer).copy_(torch.tensor(values))
    batch = next(batches(tiny_dataset["train"], PAIRS, 0, 0))
    negatives = method.negatives(tiny_dataset["train"])(batch)
    size = len(negatives) // PAIRS
    rows = [negatives[start : start + size] for start in range(0, len(negatives), size)]
    logits, loss = reference(PlainCLIP(method.backbone), method.learner, batch, rows)
    compare(method, batch, logits, method.loss(batch, negatives), loss)
