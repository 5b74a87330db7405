"""What lens, sensor and file format do to a picture: foregrounds and backgrounds go through the same."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from .drawing import Floats, Rng, floats, grid, to_uint8


@dataclass(frozen=True, kw_only=True)
class Camera:
    """How one picture was taken."""

    cast: tuple[float, float, float]  # gains of red, green, blue
    brightness: float  # the mean that its exposure aims at
    contrast: float  # the deviation that its processing aims at
    gamma: float
    saturation: float
    vignette: float
    noise: float  # deviation at mid-grey
    coarse: float  # pixels that the noise is smoothed over, as cameras do
    sharpen: float
    quality: int  # of the JPEG; 100 is none


def any_camera(rng: Rng) -> Camera:
    """Mostly good daylight; sometimes lamps, dusk, high sensitivity, a small file."""
    warm = rng.normal(0, 0.08) + rng.choice([0, 0, 0, 0.2, -0.12])
    tint = rng.normal(0, 0.03)
    return Camera(
        cast=(float(np.exp(warm)), float(np.exp(tint)), float(np.exp(-1.2 * warm))),
        brightness=float(np.clip(rng.normal(0.42, 0.12), 0.1, 0.8)),
        contrast=float(np.clip(rng.normal(0.21, 0.05), 0.08, 0.32)),
        gamma=float(np.exp(rng.normal(0, 0.22))),
        saturation=float(np.clip(rng.normal(0.65, 0.25), 0, 1.3)),
        vignette=rng.uniform(0, 0.5) * (rng.random() < 0.5),
        noise=float(np.exp(rng.uniform(np.log(0.002), np.log(0.035)))),
        coarse=rng.uniform(0.3, 1.0) * (rng.random() < 0.5),
        sharpen=rng.uniform(0.2, 1.0) * (rng.random() < 0.35),
        quality=int(rng.integers(60, 98)) if rng.random() < 0.35 else 100,
    )


def take(rng: Rng, image: Floats, camera: Camera, weight: Floats | None = None) -> Floats:
    """A scene (h, w, 3) in 0 to 1 as that camera's picture of it, exposed for where `weight` (h, w) is."""
    height, width = image.shape[:2]
    y, x = grid((height, width))
    corner = (y / height - 0.5) ** 2 + (x / width - 0.5) ** 2
    image = np.clip(image, 0, 1) ** np.float32(camera.gamma) * floats(camera.cast)
    image = _exposed(image, camera, weight)
    image = image * (1 - np.float32(camera.vignette) * corner)[..., None]
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)  # a soft shoulder
    grey = image.mean(axis=2, keepdims=True)
    image = grey + np.float32(camera.saturation) * (image - grey)
    if camera.sharpen:
        soft = ndimage.gaussian_filter(image, (1.0, 1.0, 0), truncate=3)
        image = image + np.float32(camera.sharpen) * (image - soft)
    return _filed(image + _grain(rng, image, camera), camera.quality)


def _exposed(image: Floats, camera: Camera, weight: Floats | None) -> Floats:
    """Half-way to the brightness and the contrast that the camera aims at: what is dark stays rather dark."""
    grey = image.mean(axis=2)
    mean = np.average(grey, weights=weight)
    deviation = np.sqrt(np.average((grey - mean) ** 2, weights=weight))
    image = image * np.float32(np.clip(np.sqrt(camera.brightness / max(mean, 1e-3)), 0.6, 2.2))
    spread = np.clip(np.sqrt(camera.contrast / max(deviation, 1e-3)), 0.8, 1.8)
    middle = np.float32(0.5 * (camera.brightness + image.mean()))
    return floats(middle + np.float32(spread) * (image - middle))


def _grain(rng: Rng, image: Floats, camera: Camera) -> Floats:
    """Shot noise grows with the square root of the light; some of it is common to the three colours."""
    shape = image.shape
    noise = 0.7 * rng.standard_normal(shape, dtype=np.float32) + 0.7 * rng.standard_normal(
        (*shape[:2], 1), dtype=np.float32
    )
    if camera.coarse:
        noise = ndimage.gaussian_filter(noise, (camera.coarse, camera.coarse, 0), truncate=3)
        noise /= noise.std()
    return floats(noise * np.float32(camera.noise) * np.sqrt(0.25 + 1.5 * np.clip(image, 0, 1)))


def _filed(image: Floats, quality: int) -> Floats:
    """As it comes back out of a JPEG file."""
    if quality >= 100:
        return image
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as read:
        return floats(np.asarray(read)) / np.float32(255)


def defocus(image: Floats, radius: float) -> Floats:
    """`image` (h, w, c) seen out of focus: every point a disc of `radius` pixels; the border goes on."""
    if radius < 0.3:
        return image
    margin = int(np.ceil(radius)) + 2
    padded = np.pad(
        image,
        ((margin, margin), (margin, margin), (0, 0)),
        mode="symmetric" if min(image.shape[:2]) > margin else "edge",
    )
    shape = [fft.next_fast_len(side, real=True) for side in padded.shape[:2]]
    y, x = (np.minimum(np.arange(side), side - np.arange(side)).astype(np.float32) for side in shape)
    disc = np.clip(np.float32(radius) + np.float32(0.5) - np.hypot(y[:, None], x[None, :]), 0, 1)
    kernel = fft.rfft2(disc / disc.sum())
    blurred = fft.irfft2(fft.rfft2(padded, s=shape, axes=(0, 1)) * kernel[..., None], s=shape, axes=(0, 1))
    return floats(blurred[margin : margin + image.shape[0], margin : margin + image.shape[1]])
