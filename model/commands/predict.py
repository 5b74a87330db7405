"""predict, export-onnx and export-weights: a model at work, here and elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...options import EXISTING, FILE, FOLDER, Bytes, as_json, print_result
from ...verbs import KEPT, UNCHANGED, Verb

if TYPE_CHECKING:
    pass


@click.command("predict", cls=Verb, kept=KEPT)
@click.argument("image", type=EXISTING)
@click.argument("trimap", type=EXISTING)
@click.option(
    "--checkpoint",
    type=EXISTING,
    help="A model.safetensors, or the folder of a run.  [default: the model that comes with dimtool]",
)
@click.option(
    "--out",
    type=FOLDER,
    default="mattes",
    show_default=True,
    help="For alpha/, and foreground/, cutout/, composite/ if asked for.",
)
@click.option(
    "--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Of a pixel of alpha."
)
@click.option("--foreground", is_flag=True, help="Write the foreground's own colours, too.")
@click.option("--cutout", is_flag=True, help="Write a cut-out (RGBA), too.")
@click.option("--onto", type=EXISTING, metavar="BACKGROUND", help="Write it before this picture, too.")
@click.option("--sheet", is_flag=True, help="Write sheet.png: all of it side by side, on checks and colours.")
@click.option(
    "--threshold",
    is_flag=True,
    help="Take a trimap of other greys: under 26 background, over 229 foreground, unknown between.",
)
@click.option("--overwrite", is_flag=True, help="Make anew what is there from before.")
@click.option(
    "--max-memory",
    type=Bytes(),
    metavar="BYTES",
    help="As in 4G.  [default: three quarters of what is free]",
)
@as_json
def predict_command(
    *,
    image: Path,
    trimap: Path,
    checkpoint: Path | None,
    threshold: bool,
    overwrite: bool,
    max_memory: int | None,
    as_json: bool,
    **outputs: Any,
) -> int:
    """Matte a photograph with its trimap, or a folder of them with a folder of trimaps of the same stems.

    A trimap is 0 where background, 255 where foreground, 128 where the alpha is sought. Photograph and trimap
    may have any size and mode; each is turned upright by its own EXIF tag. An image that does not fit the
    memory is matted in overlapping tiles, with the same result. Files that are there are kept where they were
    made of the same photograph, trimap, model and options, and what fails is listed at the end. Foreground
    colours are pymatting's, whose first use takes a minute, to compile itself.

    Without --checkpoint it is the model that comes with dimtool: small, and of drawn pictures alone.

    \b
    Examples:
      dimtool predict cat.jpg cat_trimap.png --cutout
      dimtool predict --checkpoint runs/dim photos trimaps --out mattes --bits 16
    """
    from ...progress import CountingBar
    from ..inference.prediction import Outputs, predict
    from ..network.release import shipped

    wanted = Outputs(folder=outputs.pop("out"), bits=16 if outputs.pop("bits") == "16" else 8, **outputs)
    with CountingBar("images") as bar:
        if checkpoint is None:
            bar.note("the model that comes with dimtool; --checkpoint takes another: docs/results.md")
        summary = predict(
            checkpoint or shipped(),
            image,
            trimap,
            wanted,
            reporter=bar,
            threshold=threshold,
            overwrite=overwrite,
            max_memory=max_memory,
        )
    print_result(as_json, asdict(summary), summary.text(wanted.folder))
    return 1 if summary.failures else 0


@click.command("export-weights", cls=Verb, kept=UNCHANGED)
@click.option(
    "--checkpoint", type=EXISTING, required=True, help="A model.safetensors, or the folder of a run."
)
@click.option("--out", type=FILE, default="model.safetensors", show_default=True, help="The file.")
@click.option(
    "--card", type=EXISTING, help="A text of what it learnt of and what it can: goes into the file."
)
@as_json
def export_weights_command(*, checkpoint: Path, out: Path, card: Path | None, as_json: bool) -> None:
    """Write a trained model as one small file to hand on: weights in float16, with its card.

    It is named as any model is: predict --checkpoint model.safetensors.

    \b
    Example:
      dimtool export-weights --checkpoint runs/dim --card card.md --out dim.safetensors
    """
    from ..network.release import release_model

    text = "" if card is None else card.read_text(encoding="utf-8")
    release = release_model(checkpoint, out, card=text)
    print_result(as_json, asdict(release), release.text())


@click.command("export-onnx", cls=Verb, kept=UNCHANGED)
@click.option(
    "--checkpoint", type=EXISTING, required=True, help="A model.safetensors, or the folder of a run."
)
@click.option("--out", type=FILE, default="model.onnx", show_default=True, help="The file.")
@as_json
def export_onnx_command(*, checkpoint: Path, out: Path, as_json: bool) -> None:
    """Write the model as one ONNX file, which onnxruntime runs without dimtool.

    It takes RGB and a trimap as files hold them, uint8 of any size, and gives alpha in 0 to 1. It is compared
    with the PyTorch model on three sizes first, and not written where they differ.

    \b
    Example:
      dimtool export-onnx --checkpoint runs/dim --out model.onnx
    """
    from ..inference.onnx import export_onnx

    export = export_onnx(checkpoint, out)
    print_result(as_json, asdict(export), export.text())


@click.command("import-weights", cls=Verb, kept=UNCHANGED)
@click.argument("file", type=EXISTING)
@click.option("--out", type=FOLDER, required=True, help="The folder that gets model.safetensors, as a run's.")
@as_json
def import_weights_command(*, file: Path, out: Path, as_json: bool) -> None:
    """Make a model of mmagic's or huochaitiantang's Deep Image Matting checkpoint.

    The encoder-decoder (stage 1) is taken exactly: the same alphas. Their refinement adds to the logit where
    the paper's adds to the alpha, and is left. The file is read as weights alone: no code in it runs.

    \b
    Example:
      dimtool import-weights dim_stage3_v16_pln.pth --out runs/mmagic
      dimtool predict --checkpoint runs/mmagic cat.jpg cat_trimap.png --out mattes
    """
    from ..network.others.imports import import_into

    written = import_into(file, out)
    print_result(as_json, asdict(written), written.text())
