"""Alphas of any size, whole and in tiles, in the memory that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dimtool.model.inference import matter as inference
from dimtool.model.inference.matter import Matter, MemoryTooLittleError, fingerprint, load, plan
from dimtool.model.inference.memory import bytes_needed
from dimtool.model.inference.tiling import Tile, receptive_margin, smallest_tile
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

CPU = torch.device("cpu")
SLIM = ModelConfig(bottleneck="slim", width=1 / 8)
FC6 = ModelConfig(bottleneck="fc6", width=1 / 8)


def make_matter(config: ModelConfig = SLIM) -> Matter:
    """A random network in which the refinement matters; at first it would add nothing."""
    torch.manual_seed(0)
    model = DeepImageMatting(config)
    nn.init.normal_(model.refinement.prediction.weight, std=0.1)
    return Matter(model=model, device=CPU)


@pytest.fixture(scope="module")
def slim() -> Matter:
    return make_matter()


def make_images(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise over blocks of colour, and a trimap with about half of it unknown."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 200, (-(-height // 40), -(-width // 40), 3), dtype=np.uint8)
    image = blocks.repeat(40, axis=0).repeat(40, axis=1)[:height, :width]
    trimap = rng.choice([0, 128, 128, 255], (-(-height // 16), -(-width // 16))).astype(np.uint8)
    trimap = trimap.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return image + rng.integers(0, 56, image.shape, dtype=np.uint8), trimap


def forward(matter: Matter, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """The whole image's alpha by the network itself, known pixels as they are known."""
    x = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] / 255
    t = torch.tensor(trimap, dtype=torch.float32)[None, None] / 255
    with torch.no_grad():
        alpha = matter.model(x, t).alpha[0, 0].numpy()
    return np.where(trimap == 128, alpha, trimap == 255)


@pytest.fixture
def sizes_seen(slim: Matter) -> Callable[[], list[tuple[int, ...]]]:
    """The sizes of what the network was given."""
    seen: list[tuple[int, ...]] = []
    handle = slim.model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    yield seen
    handle.remove()


# ---- sizes and values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 32), (1, 100), (700, 20)])
def test_any_size_gives_the_networks_alpha_and_the_trimaps_known_pixels(slim, size):
    image, trimap = make_images(*size)
    trimap[0, 0] = 128
    alpha = slim.matte(image, trimap)
    assert alpha.shape == size and alpha.dtype == np.float32
    assert alpha.min() >= 0 and alpha.max() <= 1
    np.testing.assert_allclose(alpha, forward(slim, image, trimap), atol=1e-6)
    assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 255] == 1).all()


def test_arrays_may_be_read_only_and_in_any_order_of_memory(slim):
    image, trimap = make_images(40, 50)
    bgr = np.asfortranarray(image[..., ::-1])
    trimap.flags.writeable = False
    expected = slim.matte(image, trimap)
    assert np.array_equal(slim.matte(bgr[..., ::-1], trimap[::-1][::-1]), expected)


def test_a_trimap_without_unknown_pixels_needs_no_network(slim, sizes_seen):
    image, trimap = make_images(50, 60)
    trimap[trimap == 128] = 255
    assert np.array_equal(slim.matte(image, trimap), trimap / np.float32(255))
    assert sizes_seen == []


IMAGE, TRIMAP = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
TURNED = Image.new("RGB", (5, 4))
TURNED.getexif()[0x0112] = 6


@pytest.mark.parametrize(
    ("image", "trimap", "message"),
    [
        (np.zeros((4, 5, 4), np.uint8), TRIMAP, r"image \(4, 5, 4\).*\(h, w, 3\).*it has an alpha"),
        (np.zeros((3, 4, 5), np.uint8), TRIMAP, r"image \(3, 4, 5\).*channels come first"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), TRIMAP, r"of a batch give one at a time"),
        (IMAGE, np.zeros((5, 4), np.uint8), r"trimap \(5, 4\) do not fit"),
        (IMAGE, np.zeros((4, 5, 3), np.uint8), r"trimap \(4, 5, 3\).*trimap\[\.\.\., 0\]"),
        (TRIMAP, TRIMAP, r"image \(4, 5\) is grey.*dstack"),
        (np.zeros((0, 5, 3), np.uint8), TRIMAP, r"not empty"),
        (np.zeros((4, 5, 3)), TRIMAP, r"image is float64.*give uint8, 0 to 255: \(image \* 255\)"),
        (torch.zeros(4, 5, 3), TRIMAP, r"image is float32"),
        (IMAGE, np.ones((4, 5), bool), r"trimap is bool; give uint8.*128 unknown"),
        (np.full((4, 5, 3), 4095, np.uint16), TRIMAP, r"image spans 4095 to 4095.*divide by 257"),
        (np.full((4, 5, 3), -1), TRIMAP, r"image spans -1 to -1"),
        (IMAGE, np.full((4, 5), 127, np.uint8), r"values 127; make.* 0, 128 \(unknown\) or 255"),
        ("cat.jpg", TRIMAP, r"image is a path: open it"),
        (IMAGE, Path("cat.png"), r"trimap is a path: open it.*'L'"),
        (Image.new("RGBA", (5, 4)), TRIMAP, r"mode RGBA: give image\.convert\('RGB'\)"),
        (IMAGE, Image.new("RGB", (5, 4)), r"mode RGB: give trimap\.convert\('L'\)"),
        (TURNED, TRIMAP, r"turned by its EXIF tag: give ImageOps\.exif_transpose\(image\)"),
        ([[[1, 2, 3]], [[1, 2]]], TRIMAP, r"image is no array of pixels"),
        (None, TRIMAP, r"image \(\) does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_give(slim, image, trimap, message):
    with pytest.raises(ValueError, match=message) as caught:
        slim.matte(image, trimap)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [
        Image.fromarray,
        torch.from_numpy,
        lambda pixels: torch.from_numpy(pixels).float().round().to(torch.int64).requires_grad_(False),
        lambda pixels: pixels.tolist(),
        lambda pixels: pixels.astype(np.int32),
        lambda pixels: np.require(pixels, requirements="O"),
    ],
    ids=["pillow", "tensor", "int64 tensor", "lists", "int32", "its own"],
)
def test_pictures_tensors_and_lists_are_taken_as_arrays_are(slim, kind):
    image, trimap = make_images(33, 40)
    assert np.array_equal(slim.matte(kind(image), kind(trimap)), slim.matte(image, trimap))


def test_a_fingerprint_is_of_weights_stage_and_shape_alone(tmp_path):
    model = make_matter().model
    save_model(tmp_path / "a.safetensors", model)
    save_model(tmp_path / "b.safetensors", model)
    first, second = (fingerprint(load(tmp_path / f"{name}.safetensors").model) for name in "ab")
    assert first == second == fingerprint(model)
    model.set_stage(1)
    other_stage = fingerprint(model)
    model.set_stage(3)
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] += 1e-3
    assert len({first, other_stage, fingerprint(model)}) == 3


# ---- tiles -------------------------------------------------------------------------------------------------

TILED = [(SLIM, 600, 500, 448 * 448), (FC6, 90, 1300, 96 * 768)]


def smallest(config: ModelConfig, height: int, width: int) -> int:
    """Pixels of the smallest tile."""
    return smallest_tile(height, width, margin=receptive_margin(config))


@pytest.mark.parametrize(("config", "height", "width", "pixels"), TILED)
def test_tiles_give_the_whole_images_alpha(config, height, width, pixels):
    matter, (image, trimap) = make_matter(config), make_images(height, width)
    tiles = plan(config, trimap.shape, pixels)
    assert tiles[-1].columns.seen.start > 0
    assert config is FC6 or tiles[-1].rows.seen.start > 0
    alpha = matter.matte(image, trimap, max_memory=bytes_needed(config, pixels))
    np.testing.assert_allclose(alpha, forward(matter, image, trimap), atol=1e-5)


@pytest.mark.parametrize("margin", [32, 96])
def test_a_smaller_overlap_would_not(margin, slim, monkeypatch):
    image, trimap = make_images(700, 100)
    monkeypatch.setattr(inference, "receptive_margin", lambda config: margin)
    alpha = slim.matte(image, trimap, max_memory=bytes_needed(SLIM, (2 * margin + 32) * 128))
    assert abs(alpha - forward(slim, image, trimap)).max() > 1e-4


def test_tiles_at_other_places_than_the_poolings_would_not(slim, monkeypatch):
    image, trimap = make_images(900, 100)
    rows = [(slice(0, 640), slice(0, 420)), (slice(209, 900), slice(420, 900))]
    tiles = [Tile(inference.Span(*each), inference.Span(slice(0, 100), slice(0, 100))) for each in rows]
    monkeypatch.setattr(inference, "plan", lambda *_: tiles)
    assert abs(slim.matte(image, trimap) - forward(slim, image, trimap)).max() > 1e-4


def test_tiles_stay_in_the_memory_and_those_without_unknown_pixels_are_left_out(slim, sizes_seen):
    image, trimap = make_images(1400, 480)
    trimap[:1000] = 255
    tiles = len(plan(SLIM, trimap.shape, 480 * 512))
    assert tiles > 3
    slim.matte(image, trimap, max_memory=bytes_needed(SLIM, 480 * 512))
    assert 0 < len(sizes_seen) < tiles
    assert all(height * width <= 480 * 512 for height, width in sizes_seen)


@pytest.mark.parametrize("config", [SLIM, FC6])
def test_the_margin_is_how_far_the_network_reaches(config):
    """Layer by layer: half a kernel, and of a pooling one pixel, at the scale where it stands."""
    model = make_matter(config).model
    reach, scale = 0, 1
    for block in model.encoder_decoder.encoder.blocks:
        reach += scale * sum(layer.kernel_size[0] // 2 for layer in block if isinstance(layer, nn.Conv2d))
        reach += scale
        scale *= 2
    reach += scale * (model.encoder_decoder.encoder.bottleneck.kernel_size[0] // 2)
    decoder = model.encoder_decoder.decoder
    for block in decoder.blocks:
        scale //= 2
        reach += scale * (block[0].kernel_size[0] // 2)
    last = [decoder.prediction, *(m for m in model.refinement.modules() if isinstance(m, nn.Conv2d))]
    reach += sum(layer.kernel_size[0] // 2 for layer in last)
    assert reach <= receptive_margin(config) < reach + 32


# ---- memory ------------------------------------------------------------------------------------------------


def test_too_little_memory_is_said_with_what_is_needed(slim):
    image, trimap = make_images(900, 900)
    with pytest.raises(MemoryTooLittleError, match=r"smallest tile .* needs about 89\.9 MB of memory"):
        slim.matte(image, trimap, max_memory=20_000_000)
    slim.matte(*make_images(40, 40), max_memory=bytes_needed(SLIM, smallest(SLIM, 40, 40)))


def test_an_image_that_does_not_fit_what_is_free_goes_in_tiles(slim, sizes_seen, monkeypatch):
    image, trimap = make_images(900, 100)
    monkeypatch.setattr(inference, "free_memory", lambda device: bytes_needed(SLIM, 128 * 480))
    alpha = slim.matte(image, trimap)
    assert len(sizes_seen) > 1
    np.testing.assert_allclose(alpha, forward(slim, image, trimap), atol=1e-5)


@pytest.mark.parametrize("fails_above", [128 * 480, 0])
def test_a_gpu_out_of_memory_is_tried_again_with_less(slim, monkeypatch, fails_above):
    image, trimap = make_images(900, 100)
    whole = forward(slim, image, trimap)
    run = slim._forward

    def fails(image, trimap):
        if trimap.size > fails_above:
            raise torch.OutOfMemoryError
        return run(image, trimap)

    monkeypatch.setattr(slim, "_forward", fails)
    if fails_above:
        np.testing.assert_allclose(slim.matte(image, trimap, max_memory=10**9), whole, atol=1e-5)
    else:
        with pytest.raises(MemoryTooLittleError):
            slim.matte(image, trimap, max_memory=10**9)


# ---- real images -------------------------------------------------------------------------------------------


def test_a_photograph_in_tiles(slim, real_data: Path):
    image = np.asarray(Image.open(real_data / "natural/GT12.png").convert("RGB"))
    trimap = np.asarray(Image.open(real_data / "natural/GT12.trimap2.png").convert("L"))
    alpha = slim.matte(image, trimap, max_memory=bytes_needed(SLIM, 512 * 512))
    np.testing.assert_allclose(alpha, forward(slim, image, trimap), atol=1e-5)


def test_load_takes_a_path_as_text(tmp_path):
    matter = make_matter()
    save_model(tmp_path / "model.safetensors", matter.model)
    image, trimap = make_images(33, 40)
    loaded = load(str(tmp_path), "cpu")
    assert loaded.device == CPU
    assert np.array_equal(loaded.matte(image, trimap), matter.matte(image, trimap))
