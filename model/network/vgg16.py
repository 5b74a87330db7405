"""VGG-16's ImageNet weights into the encoder, from torchvision's file or one with its names."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import DimtoolError, WrongUseError
from .dim import Encoder
from .layers import initialise_xavier
from .others.foreign import UNREADABLE, read_tensors

IMAGENET = "imagenet"
URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
"""torchvision's `VGG16_Weights.IMAGENET1K_V1`: trained with the input normalisation that the network has
built in. The name ends with the first digits of the file's SHA-256."""

_FEATURES = tuple(f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
_FC6 = "classifier.0"


class WeightsError(DimtoolError, ValueError):
    """A file cannot be read or fetched, or is not VGG-16's; one line that names it."""


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What `load_vgg16` did.

    source: file or address. loaded: the tensors taken from it, by their names there. initialised: the
    encoder's parameters that were drawn anew, by their names in the encoder; reason: why.
    """

    source: str
    loaded: tuple[str, ...]
    initialised: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        start = f"encoder: {len(self.loaded)} tensors from {self.source}"
        if not self.initialised:
            return start
        return f"{start}; {' and '.join(self.initialised)} initialised by Xavier: {self.reason}"


def load_vgg16(encoder: Encoder, source: str | Path | None = None) -> LoadedWeights:
    """Fill `encoder` in place with VGG-16's 13 convolutions and, where file and encoder have it, fc6.

    source: None or "imagenet" for torchvision's file, fetched once into the hub's cache and checked by
    its hash; or the path of a `.safetensors` file or of a `.pth` file, read as weights alone. Names are
    torchvision's: `features.0.weight` and so on (or `0.weight`, those of `features` alone), fc6 is
    `classifier.0`. Any float type.

    The trimap's weights in the first convolution become zero; fc6's matrix becomes a 7 x 7 convolution.
    The bottleneck is drawn by Xavier where the file has no fc6 or the encoder has the slim one.

    Raises WrongUseError, and changes nothing, for an encoder narrower than VGG-16, and WeightsError for a
    file that cannot be read or that lacks a tensor or has it in another shape.
    """
    if encoder.config.width != 1:
        width = encoder.config.width
        raise WrongUseError(
            f"VGG-16's weights fit width 1 alone, not {width:g}; train without them or at width 1"
        )
    name, tensors = _read(source)
    layers = dict(zip(_FEATURES, encoder.convolutions(), strict=True))
    slim = encoder.config.bottleneck == "slim"
    if not slim and f"{_FC6}.weight" in tensors:
        layers[_FC6] = encoder.bottleneck
    wanted = {key: _checked(tensors, key, layer, name) for key, layer in layers.items()}
    for key, layer in layers.items():
        _fill(layer, *wanted[key])
    loaded = tuple(f"{key}.{part}" for key in layers for part in ("weight", "bias"))
    if _FC6 in layers:
        return LoadedWeights(source=name, loaded=loaded)
    initialise_xavier([encoder.bottleneck])
    reason = "the slim bottleneck is no part of VGG-16" if slim else f"no {_FC6} (fc6) there"
    names = ("bottleneck.weight", "bottleneck.bias")
    return LoadedWeights(source=name, loaded=loaded, initialised=names, reason=reason)


def _read(source: str | Path | None) -> tuple[str, dict[str, Tensor]]:
    """The source's name for messages, and its tensors under torchvision's full names."""
    if source is None or source == IMAGENET:
        name, tensors = URL, _download()
    else:
        name, tensors = str(source), _open(Path(source))
    if "0.weight" in tensors:
        tensors = {f"features.{key}": tensor for key, tensor in tensors.items()}
    return name, tensors


def _download() -> dict[str, Tensor]:
    try:
        with redirect_stdout(sys.stderr):  # where it says that it downloads
            return torch.hub.load_state_dict_from_url(
                URL, map_location="cpu", check_hash=True, weights_only=True, progress=sys.stderr.isatty()
            )
    except UNREADABLE as error:
        raise WeightsError(
            f"cannot fetch {URL} ({_line(error)}): fetch it where there is a network, and give that copy "
            f"with --weights FILE, or lay it into {torch.hub.get_dir()}/checkpoints"
        ) from error


def _open(path: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(path)
    except UNREADABLE as error:
        raise WeightsError(
            f"{path}: cannot be read as weights ({type(error).__name__}): give VGG-16's, or none"
        ) from error


def _checked(tensors: dict[str, Tensor], key: str, layer: nn.Conv2d, source: str) -> tuple[Tensor, Tensor]:
    """Weight and bias named `key`, if they have the shapes that VGG-16 has in place of `layer`."""
    outputs, inputs, *window = layer.weight.shape
    shape = {_FEATURES[0]: (outputs, 3, *window), _FC6: (outputs, inputs * window[0] * window[1])}
    expected = {f"{key}.weight": shape.get(key, tuple(layer.weight.shape)), f"{key}.bias": (outputs,)}
    for name, size in expected.items():
        if name not in tensors:
            raise WeightsError(f"{source}: no tensor {name}; give VGG-16's weights under torchvision's names")
        if tensors[name].shape != size:
            raise WeightsError(f"{source}: {name} is {tuple(tensors[name].shape)}, in VGG-16 it is {size}")
    weight, bias = (tensors[name] for name in expected)
    return weight, bias


@torch.no_grad()
def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    if weight.ndim == 2:  # fc6, whose inputs torchvision flattens from (512, 7, 7)
        weight = weight.reshape(layer.weight.shape)
    layer.weight.zero_()  # the trimap's channel, which VGG-16 lacks, stays so
    layer.weight[:, : weight.shape[1]] = weight
    layer.bias.copy_(bias)  # type: ignore[union-attr]


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
