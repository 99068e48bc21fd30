"""Backbones that take prompts: an unmodified `transformers` model whose towers are transformers.

`clip.py` and `siglip.py` hold what differs between architectures: how they tokenize, and how their towers run and pool.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmark.models.backbone import ALL, Features, Prompts, concatenate, first_layer
from benchmark.models.encoder_options import EncoderOptions
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages, PixelCache, as_batch, digests, select_images
from benchmark.models.layers import cached_features, check_layers, with_layers
from benchmark.models.processes import in_chunks, shared, step_numerics, tower_autocast
from benchmark.models.tensor_files import add_tensors
from fdrd.errors import FdrdError

CPU_ROWS = 16
"""Rows that a tower encodes at a time on a CPU; the activations of more exceed its caches."""

PLAIN = Prompts()

Model = TypeVar("Model", bound=nn.Module)


class PromptableBackbone:
    """A frozen model with two towers that take prompts, see `Backbone`.

    Pooled features of an unprompted tower come from `frozen` if it is given.

    Raises:
        FdrdError: the tokenizer does not fit the model, torch cannot compile it, or it has no such option.
    """

    can = ALL
    supported: tuple[str, ...] = ("precision", "compile")
    """its options"""
    dim: int
    context: int
    logit_bias: float | Tensor = 0.0
    # Of an architecture: features of images under n visual tokens per layer, and of captions under n context vectors;
    # (B, length) true at the states of patches; (B, T) token ids, and true at the captions' own tokens; their numbers.
    encode_pixels: Callable[[Tensor, Prompts, int, bool], Features]
    encode_ids: Callable[[Tensor, Prompts, int, bool], Features]
    patches: Callable[[Tensor, int], Tensor]
    tokenize: Callable[[Sequence[str], int], tuple[Tensor, Tensor]]
    lengths: Callable[[Tensor], Tensor]

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        image_processor: Any,
        *,
        name: str,
        frozen: FrozenFeatures | None = None,
        device: str | torch.device = "cpu",
        options: EncoderOptions = EncoderOptions(),
    ):
        options.only(name, *self.supported)
        self.name = name
        self.options = options
        self.frozen = frozen
        self.device = torch.device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self._rows = sys.maxsize
        if self.device.type == "cpu":
            self._rows = CPU_ROWS
            # Captions are short, and the fused kernel is slower than its parts.
            self.model.set_attn_implementation("eager")
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._pixels = PixelCache(image_processor)
        text, vision = model.config.text_config, model.config.vision_config
        self.text_width: int = text.hidden_size
        self.vision_width: int = vision.hidden_size
        self.text_layers: int = text.num_hidden_layers
        self.vision_layers: int = vision.num_hidden_layers
        self.logit_scale: float | Tensor = float(model.logit_scale.detach().float().exp())
        self.fingerprint = options.fingerprint(self._prepared())
        self._compiled: PromptableBackbone | None = None
        if options.compile:
            self._compile()

    def _prepared(self) -> str:
        """Set what an architecture needs, and return the digest of weights, preprocessing and tokenizer."""
        raise NotImplementedError

    def trainable_copy(self) -> PromptableBackbone:
        """Return a backbone with its own trainable weights and no feature cache.

        Raises:
            FdrdError: the model cannot be copied.
        """
        try:
            model = with_own_weights(self.model)
        except (TypeError, RuntimeError) as error:
            raise FdrdError(
                f"backbone {self.name!r} cannot be copied for fine-tuning ({error}); give its modules "
                f"a __deepcopy__, or choose a method that leaves the backbone frozen"
            ) from error
        copied = type(self)(
            model,
            self.tokenizer,
            self.image_processor,
            name=self.name,
            device=self.device,
            options=replace(self.options, compile=False),
        )
        copied.model.requires_grad_(True)
        return copied

    def encode_image(
        self,
        images: AnyImages,
        prompts: Prompts = PLAIN,
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
    ) -> Features:
        """Return features of B images, or of one; layers only of the tower without prompts."""
        images = as_batch(images)
        check_layers(self, "image", layers, prompted=len(prompts.vision) > 0)

        def encode(rows: list[int] | slice) -> Features:
            if isinstance(rows, slice):
                return self._encode_images(images[rows], prompts[rows], tokens, layers)
            return self._encode_images(select_images(images, rows), prompts, tokens, layers)

        if self.frozen is None or prompts.vision or tokens:
            return shared(len(images), encode)
        with torch.no_grad(), step_numerics():
            return cached_features(self, "image", digests(images), layers, encode)

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = PLAIN,
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
        reserve: int = 0,
    ) -> Features:
        """Return features of B captions, truncated so that `reserve` context slots stay free."""
        captions = as_batch(captions)
        check_layers(self, "text", layers, prompted=prompts.in_text)
        longest = self.context - max(self._slots(prompts), reserve)
        whole = self.frozen is None or prompts.in_text or tokens

        def encode(captions: Sequence[str]) -> Features:
            ids, valid = self._tokenize(captions, longest)  # (B, T) each

            def encode_rows(rows: slice) -> Features:
                return self._encode_ids(ids[rows], valid[rows], prompts[rows], tokens, layers)

            features = shared(len(ids), encode_rows) if whole else encode_rows(slice(None))
            return replace(features, valid=valid if tokens else None)

        if whole:
            return encode(captions)
        keys = [hashlib.sha256(f"{reserve}\n{text}".encode()).hexdigest() for text in captions]
        with torch.no_grad(), step_numerics():
            return cached_features(
                self, "text", keys, layers, lambda rows: encode([captions[row] for row in rows])
            )

    def count_tokens(self, captions: Sequence[str]) -> list[int]:
        """Return the tokens of each caption before truncation, including special ones."""
        return token_counts(self.tokenizer, captions)

    def word_embeddings(self, words: str) -> Tensor:
        """Return (n, text_width) input embeddings of the tokens of some words."""
        ids = self.tokenizer(words, add_special_tokens=False)["input_ids"]
        weight: Tensor = self.model.text_model.embeddings.token_embedding.weight
        return (
            weight[torch.tensor(ids, dtype=torch.long, device=self.device)].detach().float().clone()
        )

    def save_pretrained(self, folder: str) -> None:
        """Write the model with its tokenizer and image processor, as `transformers` loads them."""
        for part in (self.model, self.tokenizer, self.image_processor):
            part.save_pretrained(folder)

    def _encode_images(
        self, images: AnyImages, prompts: Prompts, tokens: bool, layers: Sequence[int]
    ) -> Features:
        pixels = self._pixels.of(images)
        n_vis = _length(prompts.vision, self.vision_width, "vision")
        towers = self._chosen(hooked=n_vis > 0 or tokens or len(layers) > 0)

        def encode(rows: slice | Tensor) -> Features:
            some = pixels[rows].to(self.device)
            return with_layers(
                self.model.vision_model.encoder.layers,
                layers,
                lambda: towers.encode_pixels(some, prompts[rows], n_vis, tokens),
                lambda length: towers.patches(some, length),
            )

        return self._in_parts(len(pixels), encode, self._rows)

    def _encode_ids(
        self, ids: Tensor, valid: Tensor, prompts: Prompts, tokens: bool, layers: Sequence[int]
    ) -> Features:
        n_ctx = self._slots(prompts)
        towers = self._chosen(hooked=prompts.in_text or tokens or len(layers) > 0)
        length = None if tokens else self.lengths(ids)

        def encode(rows: slice | Tensor) -> Features:
            width = ids.shape[1] if length is None else int(length[rows].max())
            some = prompts[rows]
            weights = some.token_weights
            # Weights of another width are refused later.
            if weights is not None and weights.shape[1] == ids.shape[1]:
                some = replace(some, token_weights=weights[:, :width])
            return with_layers(
                self.model.text_model.encoder.layers,
                layers,
                lambda: towers.encode_ids(ids[rows, :width], some, n_ctx, tokens),
                lambda _length: valid[rows, :width],
            )

        return self._in_parts(len(ids), encode, sys.maxsize if tokens else self._rows, length)

    def _in_parts(
        self,
        count: int,
        encode: Callable[[slice | Tensor], Features],
        size: int,
        length: Tensor | None = None,
    ) -> Features:
        """Encode at most `size` of the rows at a time, and return features in the order of the rows.

        If their lengths are given, similar ones are encoded together, so that little is padded.
        """
        precision = tower_autocast(self.device, self.options.precision)

        def run(chunk: slice) -> Features:
            if length is None:
                starts = range(chunk.start, chunk.stop, size)
                slices = [slice(at, min(at + size, chunk.stop)) for at in starts]
                with precision:
                    return concatenate([encode(each) for each in slices])
            order = length[chunk].argsort(stable=True)
            with precision:
                starts = range(0, len(order), size)
                parts = [encode(chunk.start + order[at : at + size]) for at in starts]
                return concatenate(parts)[order.argsort()]

        return in_chunks(count, run, concatenate)

    def _chosen(self, *, hooked: bool) -> PromptableBackbone:
        """Return the backbone with compiled towers where nothing hooks into them or needs a gradient."""
        if hooked or torch.is_grad_enabled() or self._compiled is None:
            return self
        return self._compiled

    @torch.no_grad()
    def _compile(self) -> None:
        """Compile the towers, which share all weights with the plain ones."""
        model = copy.copy(self.model)
        model._modules = {
            **model._modules,
            "vision_model": torch.compile(model.vision_model, dynamic=True),
            "text_model": torch.compile(model.text_model, dynamic=True),
        }
        self._compiled = copy.copy(self)
        self._compiled.model = model
        try:
            self._encode_ids(*self._tokenize(["a"], self.context), PLAIN, False, ())
        except Exception as error:  # torch raises many kinds, e.g. without a C++ compiler
            reason = " ".join(str(error).split())[:200]
            raise FdrdError(
                f"backbone {self.name!r}: torch cannot compile it here ({reason}); leave out compile=yes"
            ) from error

    def _slots(self, prompts: Prompts) -> int:
        """Return how many positions of the context prompts take; tokens that join later take none."""
        n_ctx = _length(prompts.text, self.text_width, "text")
        return 0 if first_layer(prompts.text) else n_ctx

    def _tokenize(self, captions: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
        if longest < 3:
            raise FdrdError(
                f"no room for a caption: the context of {self.name} has {self.context} tokens, "
                f"of which context vectors take {self.context - longest}; lower n_ctx"
            )
        ids, valid = self.tokenize(captions, longest)
        return ids.to(self.device), valid.to(self.device)


def _length(prompts: Sequence[Tensor], width: int, tower: str) -> int:
    """Return the number of prompt tokens per layer; all layers must agree, and fit the tower."""
    sizes = {tuple(prompt.shape[-2:]) for prompt in prompts if prompt.shape[-2]}
    if len(sizes) > 1 or any(size[1] != width for size in sizes):
        raise ValueError(f"{tower} prompts are {sorted(sizes)}; they must all be (n, {width})")
    return next(iter(sizes))[0] if sizes else 0


def unit(features: Tensor) -> Tensor:
    """Return float32 features of unit length."""
    return normalize(features.float(), dim=-1)


def read_out(pooled: Tensor, states: Tensor, readout: Tensor) -> Features:
    """Return the features of an image with the one token that `Prompts.readout` makes of its visual tokens."""
    return Features(pooled, unit(states.float().mean(dim=1, keepdim=True) @ readout))


def fingerprint(
    model: Any, tokenizer: Any, image_processor: Any, settings: Sequence[str], rules: str = ""
) -> str:
    """Return a digest of weights, preprocessing and tokenizer.

    It does not cover anything that a loading function keeps outside `state_dict`.
    """
    digest = hashlib.sha256()
    add_tensors(digest, model.state_dict())
    # The torchvision processor gives other pixels for the same settings.
    digest.update(type(image_processor).__name__.encode())
    values = image_processor.to_dict()
    chosen = {key: values.get(key) for key in settings}
    digest.update(json.dumps(chosen, sort_keys=True, default=_plain).encode())
    digest.update(json.dumps(tokenizer_rules(tokenizer), sort_keys=True).encode())
    digest.update(rules.encode())
    return digest.hexdigest()


def tokenizer_rules(tokenizer: Any) -> dict[str, Any]:
    """Return everything that decides the tokens of a caption, as JSON values."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python
        return {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    rules: dict[str, Any] = json.loads(backend.to_str())
    transient = ("truncation", "padding")  # set by every call
    return {name: rule for name, rule in rules.items() if name not in transient}


def token_counts(tokenizer: Any, captions: Sequence[str]) -> list[int]:
    """Return the tokens of each caption, including special ones, without truncation."""
    return [len(ids) for ids in tokenizer(list(captions), verbose=False)["input_ids"]]


def _plain(value: Any) -> Any:
    """Return enumerations and size objects of the image processor as JSON values."""
    return int(value) if isinstance(value, int) else dict(value)


def with_own_weights(model: Model) -> Model:
    """Return a deep copy that shares with `model` only uncopyable objects without weights, e.g. a session of ONNX.

    Raises:
        TypeError: an object that holds tensors or modules refuses to be copied.

    >>> import threading
    >>> layer = nn.Linear(1, 1)
    >>> layer.lock = threading.Lock()
    >>> copied = with_own_weights(layer)
    >>> copied.weight is layer.weight, copied.lock is layer.lock
    (False, True)
    """
    of_module = vars(nn.Module())  # parameters, buffers, submodules, hooks
    shared: dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in of_module and not _holds_weights(value):
                try:
                    copy.deepcopy(value)
                except Exception:  # third-party objects may raise anything
                    shared[id(value)] = value
    return copy.deepcopy(model, shared)


def _holds_weights(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_weights, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_holds_weights, value))
    return isinstance(value, Tensor | nn.Module)
