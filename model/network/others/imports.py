"""Other projects' trained weights as a model of this one: mmagic's and huochaitiantang's encoder-decoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ....errors import WrongUseError
from ....text import count, first_line
from ..checkpoint import MODEL_NAME, save_model
from ..dim import DeepImageMatting, ModelConfig
from .foreign import UNREADABLE, read_tensors

_CONVOLUTIONS = (2, 2, 3, 3, 3)  # of VGG-16's blocks
_DECODER = ("deconv5_1", "deconv4_1", "deconv3_1", "deconv2_1", "deconv1_1")
_REFINEMENT = ("refine_conv1", "refine_conv2", "refine_conv3", "refine_pred")
_OURS = "encoder_decoder"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model with the weights of stage 1 of `project`.

    loaded: how many tensors were taken; left: those of its refinement, which cannot be.
    """

    model: DeepImageMatting
    project: str
    loaded: int
    left: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImportedFile:
    """Where an imported model was written. See Imported."""

    path: Path
    project: str
    loaded: int
    left: tuple[str, ...]

    def text(self) -> str:
        """What was taken and what was left, and what to do with it."""
        lines = [f"{self.path}: {count(self.loaded, 'tensor')} of {self.project}'s encoder-decoder (stage 1)"]
        if self.left:
            lines.append(
                f"note: its refinement ({count(len(self.left), 'tensor')}) is left: it adds to the logit, "
                "from a normalised image, where this one adds to the alpha; scores are those of its stage 1"
            )
        if self.project == "huochaitiantang":
            lines.append(
                "note: exact for weights trained on normalised RGB and trimap / 255 without skip "
                "connections, which its files do not say; score a few images before you trust it"
            )
        model = self.path.parent
        lines.append(f"next: dimtool predict --checkpoint {model} photo.jpg trimap.png --out mattes")
        return "\n".join(lines)


def import_into(file: Path, out: Path) -> ImportedFile:
    """Write `out`/model.safetensors from another project's checkpoint. See import_weights.

    Raises WrongUseError, too, where there is one already.
    """
    path = out / MODEL_NAME
    if path.exists():
        raise WrongUseError(f"{path} exists: choose another --out, or remove it")
    imported = import_weights(file)
    out.mkdir(parents=True, exist_ok=True)
    save_model(path, imported.model)
    return ImportedFile(path=path, project=imported.project, loaded=imported.loaded, left=imported.left)


def import_weights(path: Path) -> Imported:
    """The encoder-decoder of a checkpoint, .pth or .safetensors, exactly; ready for use, on the CPU.

    Both projects have VGG-16's convolutions, a bottleneck of 1 x 1 and 512 channels, and the decoder of the
    paper, with ImageNet's normalisation and trimap / 255 before it: the network here with the bottleneck
    "slim" and no refinement. Their refinement adds to the logit, from a normalised image, where the paper's
    adds to the alpha: it is left. The file is read as weights alone, no code in it runs. Raises
    WrongUseError where it cannot be read so, is of neither, or of a variant that is not this network.
    """
    tensors = _read(path)
    project, names = _recognised(tensors, path)
    model = DeepImageMatting(ModelConfig(bottleneck="slim", refinement=False))
    layers = {f"{ours}.{part}": f"{its}.{part}" for ours, its in names.items() for part in ("weight", "bias")}
    left = tuple(sorted(filter(_is_refinement, tensors)))
    _refuse_unknown(tensors.keys() - set(layers.values()) - set(left), path)
    here = model.state_dict()
    model.load_state_dict({ours: _fitting(tensors, its, here[ours], path) for ours, its in layers.items()})
    return Imported(model=model.eval(), project=project, loaded=len(layers), left=left)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors, without the prefix that PyTorch's data parallelism puts before each."""
    try:
        tensors = read_tensors(path)
    except UNREADABLE as error:
        raise WrongUseError(
            f"{path} cannot be read as weights ({first_line(error)}): where it holds more than tensors and "
            "you trust it, save its state_dict alone with torch.save, and import that"
        ) from error
    if not tensors:
        raise WrongUseError(f"{path} holds no tensors: give the checkpoint of a model")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _recognised(tensors: Mapping[str, Tensor], path: Path) -> tuple[str, dict[str, str]]:
    """Which project's the file is, and its layers' names by ours."""
    for project, names in (("mmagic", _mmagic()), ("huochaitiantang", _huochaitiantang())):
        if f"{names[f'{_OURS}.decoder.entry']}.weight" in tensors:
            return project, names
    some = ", ".join(sorted(tensors)[:2])
    raise WrongUseError(
        f"{path} is neither mmagic's Deep Image Matting nor huochaitiantang's (it has {some}, …): "
        "only those two are known here"
    )


def _mmagic() -> dict[str, str]:
    encoder = {
        f"{_OURS}.encoder.blocks.{block}.{2 * i}": f"backbone.encoder.layer{block + 1}.{2 * i}"
        for block, count in enumerate(_CONVOLUTIONS)
        for i in range(count)
    }
    return {**encoder, **_rest("backbone.encoder.conv6", "backbone.decoder.")}


def _huochaitiantang() -> dict[str, str]:
    encoder = {
        f"{_OURS}.encoder.blocks.{block}.{2 * i}": f"conv{block + 1}_{i + 1}"
        for block, count in enumerate(_CONVOLUTIONS)
        for i in range(count)
    }
    return {**encoder, **_rest("conv6_1", "")}


def _rest(bottleneck: str, prefix: str) -> dict[str, str]:
    blocks = {f"{_OURS}.decoder.blocks.{i}.0": f"{prefix}{name}" for i, name in enumerate(_DECODER)}
    return {
        f"{_OURS}.encoder.bottleneck": bottleneck,
        f"{_OURS}.decoder.entry": f"{prefix}deconv6_1",
        **blocks,
        f"{_OURS}.decoder.prediction": f"{prefix}deconv1",
    }


def _is_refinement(name: str) -> bool:
    return name.removeprefix("refiner.").rpartition(".")[0] in _REFINEMENT


def _refuse_unknown(unknown: set[str], path: Path) -> None:
    if unknown:
        raise WrongUseError(
            f"{path} has {min(unknown)}, which this network has no place for: with batch normalisation or "
            "other layers it is another model, whose weights alone would give other alphas"
        )


def _fitting(tensors: Mapping[str, Tensor], name: str, like: Tensor, path: Path) -> Tensor:
    """The tensor `name`, if it has the shape that is needed, in this network's precision."""
    if name not in tensors:
        raise WrongUseError(f"{path} lacks {name}: it is not a whole model")
    if (found := tensors[name]).shape != like.shape:
        variant = (
            "; the variant with skip connections has a bottleneck of 3 x 3, and this network has no skips"
            if name == "conv6_1.weight"
            else ""
        )
        raise WrongUseError(
            f"{path}: {name} is {tuple(found.shape)}, here it must be {tuple(like.shape)}{variant}"
        )
    return found.to(torch.float32)
