"""The network of Deep Image Matting (Xu, Price, Cohen and Huang, CVPR 2017).

An encoder-decoder gives a first alpha from image and trimap: VGG-16's 13 convolutions and its fc6 as
a convolution, five max-pools that keep where each maximum was, and a decoder that puts the values
back there. A refinement of four convolutions adds its correction to that alpha.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import (
    Normalisation,
    NormalisedConvolution,
    convolution,
    initialise_relu,
    initialise_xavier,
)
from .pooling.pools import max_unpool, relu_max_pool

Bottleneck = Literal["fc6", "slim"]
Stage = Literal[1, 2, 3]

STRIDE = 32
"""Five poolings: the network works on sides that are multiples of this."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

_ENCODER = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of each block
_DECODER = (512, 256, 128, 64, 64)  # channels after each unpooling


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What decides the network's shapes. `dataclasses.asdict` and `**` bring it to JSON and back.

    bottleneck: "fc6", the paper's 7 x 7 convolution to 4,096 channels, or "slim", 1 x 1 to 512: a fifth
    of the parameters, and peers score no worse with it.
    width: multiplies every channel count but the inputs and outputs. Below 1 the network trains on a
    CPU, but ImageNet's weights no longer fit. Above 1 is refused: no weights and no results exist.
    refinement: whether the refinement's layers exist; without them only stage 1 can run.
    normalisation: of the encoder-decoder's convolutions while they learn: "batch", or the paper's "none".
    """

    bottleneck: Bottleneck = "fc6"
    width: float = 1.0
    refinement: bool = True
    normalisation: Normalisation = "none"

    def __post_init__(self) -> None:
        if self.bottleneck not in get_args(Bottleneck):
            raise ValueError(f"bottleneck is {self.bottleneck!r}; choose 'fc6' or 'slim'")
        if self.normalisation not in get_args(Normalisation):
            raise ValueError(f"normalisation is {self.normalisation!r}; choose 'none' or 'batch'")
        if not 0 < self.width <= 1:
            raise ValueError(f"width is {self.width!r}; choose a number above 0, at most 1 (VGG-16's own)")

    def channels(self, full: int) -> int:
        """The channel count at this width in place of `full`: a multiple of 8, as matrix units want."""
        return max(8, 8 * round(full * self.width / 8))

    def values(self) -> dict[str, Any]:
        """Its fields, for JSON; a normalisation only where there is one: others' files are what they were."""
        return {
            name: value for name, value in asdict(self).items() if (name, value) != ("normalisation", "none")
        }

    @property
    def bottleneck_channels(self) -> int:
        return self.channels(4096 if self.bottleneck == "fc6" else 512)


class Prediction(NamedTuple):
    """What the network gives. Both are (n, 1, h, w) and float32, or float64 of a float64 network.

    coarse: the encoder-decoder's alpha, in 0..1.
    refined: the alpha with the refinement added, for the loss; it may leave 0..1. Equal to `coarse` where
    the refinement did not run.
    """

    coarse: Tensor
    refined: Tensor

    @property
    def alpha(self) -> Tensor:
        """The result: `refined` in 0..1. No loss is taken here: a clamp has no gradient outside."""
        return self.refined.clamp(0, 1)


class Encoder(nn.Module):
    """VGG-16's convolutions and poolings, and the bottleneck."""

    def __init__(self, *, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList()
        channels = 4
        for full, count in _ENCODER:
            layers: list[nn.Module] = []
            for _ in range(count):
                outputs = config.channels(full)
                layers += _with_relu(channels, outputs, size=3, normalisation=config.normalisation)
                channels = outputs
            self.blocks.append(nn.Sequential(*layers[:-1]))  # the last ReLU is the pooling's
        size = 7 if config.bottleneck == "fc6" else 1
        self.bottleneck = convolution(
            channels, config.bottleneck_channels, size=size, normalisation=config.normalisation
        )
        initialise_relu(self.convolutions())
        initialise_xavier([self.bottleneck])

    def convolutions(self) -> list[nn.Conv2d]:
        """The 13 convolutions that VGG-16 has, in order, without the bottleneck."""
        return [layer for layer in self.blocks.modules() if isinstance(layer, nn.Conv2d)]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(n, 4, h, w) to features (n, c, h / 32, w / 32) and the five poolings' places, finest first."""
        places = []
        for block in self.blocks:
            x, place = _convolve_and_pool(list(block.children()), x)
            places.append(place)
        return F.relu(self.bottleneck(x), inplace=True), places


class Decoder(nn.Module):
    """Five unpoolings, each before a 5 x 5 convolution, and the alpha prediction layer."""

    def __init__(self, *, config: ModelConfig) -> None:
        super().__init__()
        channels = config.channels(512)
        normalisation = config.normalisation
        self.entry = convolution(config.bottleneck_channels, channels, size=1, normalisation=normalisation)
        self.blocks = nn.ModuleList()
        for full in _DECODER:
            layers = _with_relu(channels, config.channels(full), size=5, normalisation=normalisation)
            self.blocks.append(nn.Sequential(*layers))
            channels = config.channels(full)
        self.prediction = nn.Conv2d(channels, 1, 5, padding=2)
        initialise_xavier(self.modules())

    def forward(self, x: Tensor, places: list[Tensor]) -> Tensor:
        """The encoder's features and places to alpha's logit, (n, 1, h, w)."""
        x = F.relu(self.entry(x), inplace=True)
        for block, place in zip(self.blocks, reversed(places), strict=True):
            x = block(max_unpool(x, place))
        logit: Tensor = self.prediction(x)
        return logit


class EncoderDecoder(nn.Module):
    """Stage 1: image and trimap to a first alpha."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config=config)
        self.decoder = Decoder(config=config)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        """Image (n, 3, h, w) and trimap (n, 1, h, w) in 0..1, h and w multiples of 32, to alpha in 0..1.

        The ImageNet normalisation is in here, so that no caller and no export can leave it out.
        """
        x = torch.cat([(image - self.mean) / self.deviation, trimap], 1)
        features, places = self.encoder(_as_weights(x, self.decoder.prediction))
        # bfloat16 has 256 steps between 0.5 and 1, as many as a whole 8-bit alpha: the logit can be
        # rounded to it, the alpha not.
        return full_precision(self.decoder(features, places)).sigmoid()


class Refinement(nn.Module):
    """Stage 2: four convolutions whose output is added to the first alpha.

    The last one starts at zero, so that training begins at stage 1's result: the sum is then the
    stage-1 alpha, exactly. A sigmoid on this output in place of the sum is known to end at alpha 0.
    """

    def __init__(self, *, config: ModelConfig) -> None:
        super().__init__()
        channels = config.channels(64)
        self.layers = nn.Sequential(
            *_with_relu(4, channels, size=3),
            *_with_relu(channels, channels, size=3),
            *_with_relu(channels, channels, size=3),
        )
        self.prediction = nn.Conv2d(channels, 1, 3, padding=1)
        initialise_xavier(self.modules())
        nn.init.zeros_(self.prediction.weight)

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        """Image (n, 3, h, w) and alpha (n, 1, h, w) to the corrected alpha, which may leave 0..1.

        Both inputs are in 0..1. The paper has both in 0..255; a normalised image beside an alpha in
        0..1 would give the image four times the alpha's weight.
        """
        x = torch.cat([image, coarse], 1)
        return coarse + full_precision(self.prediction(self.layers(_as_weights(x, self.prediction))))


class DeepImageMatting(nn.Module):
    """Both parts, for images of any size. `stage` says what runs and what learns.

    1: the encoder-decoder alone. 2: the refinement learns, on a frozen encoder-decoder. 3: both learn.
    A new network is at 3, or at 1 where the configuration has no refinement.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder_decoder = EncoderDecoder(config=config)
        self.refinement = Refinement(config=config) if config.refinement else None
        self.stage: Stage = 3 if config.refinement else 1

    def set_stage(self, stage: Stage) -> None:
        """Run and train as in this stage. Raises ValueError for a stage that the configuration lacks."""
        if stage not in get_args(Stage):
            raise ValueError(f"stage is {stage!r}; choose 1, 2 or 3")
        if self.refinement is None and stage != 1:
            raise ValueError(f"stage {stage} needs the refinement; this model has refinement=False")
        self.stage = stage
        self.encoder_decoder.requires_grad_(stage != 2)
        if self.refinement is not None:
            self.refinement.requires_grad_(stage != 1)
        self.train(self.training)  # a normalisation that does not learn stays as in use

    def forward(self, image: Tensor, trimap: Tensor) -> Prediction:
        """The alpha of images of any height and width.

        image: (n, 3, h, w) RGB in 0..1. trimap: (n, 1, h, w) in 0..1: 0, 128 / 255 or 1. Both are padded
        on the right and below to multiples of 32 with their last pixels, and the result is cut back.
        Raises ValueError for other shapes and for integers.
        """
        _check_inputs(image, trimap)
        height, width = image.shape[-2:]
        image, trimap = _pad(image), _pad(trimap)
        coarse = self.encoder_decoder(image, trimap)
        refined = coarse if self.stage == 1 or self.refinement is None else self.refinement(image, coarse)
        return Prediction(coarse[..., :height, :width], refined[..., :height, :width])


def _with_relu(
    inputs: int, outputs: int, *, size: int, normalisation: Normalisation = "none"
) -> list[nn.Module]:
    layer = convolution(inputs, outputs, size=size, normalisation=normalisation)
    return [layer, nn.ReLU(inplace=True)]


def _convolve_and_pool(block: list[nn.Module], x: Tensor) -> tuple[Tensor, Tensor]:
    """A block of the encoder and its pooling."""
    *layers, last = block
    for layer in layers:
        x = layer(x)
    if not x.is_cuda or not isinstance(last, nn.Conv2d) or isinstance(last, NormalisedConvolution):
        return relu_max_pool(last(x))
    # There a bias is a pass over the whole result, which the pooling's kernel saves. On the CPU the
    # convolution adds it while it sums, and rounds otherwise.
    return relu_max_pool(F.conv2d(x, last.weight, padding=last.padding), last.bias)


def folded(model: DeepImageMatting) -> DeepImageMatting:
    """The model without normalisation that gives the same alpha in use, faster; itself if it has none."""
    if model.config.normalisation == "none":
        return model
    same = DeepImageMatting(replace(model.config, normalisation="none"))
    same.set_stage(model.stage)
    same.to(next(model.parameters()))
    layers = dict(model.named_modules())
    for name, layer in same.named_modules():
        if isinstance(layer, nn.Conv2d):
            learnt = layers[name]
            plain = learnt.plain() if isinstance(learnt, NormalisedConvolution) else learnt
            layer.load_state_dict(plain.state_dict())
    return same.train(model.training)


def _check_inputs(image: Tensor, trimap: Tensor) -> None:
    n, _, h, w = image.shape if image.ndim == 4 else (0, 0, 0, 0)
    if image.ndim != 4 or image.shape[1] != 3 or trimap.shape != (n, 1, h, w):
        shapes = f"image {tuple(image.shape)} and trimap {tuple(trimap.shape)}"
        raise ValueError(f"{shapes} do not fit; give (n, 3, h, w) and (n, 1, h, w)")
    if not (image.is_floating_point() and trimap.is_floating_point()):
        raise ValueError(f"image is {image.dtype} and trimap {trimap.dtype}; give floats, divided by 255")


def _pad(x: Tensor) -> Tensor:
    # Written so that a compiler with symbolic sizes can prove the result's sides divisible by 32.
    height, width = (STRIDE * ((side + STRIDE - 1) // STRIDE) for side in x.shape[-2:])
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), mode="replicate")


def _as_weights(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """`x` in the type of the network's weights: a bfloat16 network takes float32 images."""
    return x.to(layer.weight.dtype)


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32, or float64 if it is: bfloat16 cannot tell alphas apart above one half."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
