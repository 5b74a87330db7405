"""Loading VGG-16, beside a plain evaluation of its layers."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from dimtool.model.network import vgg16
from dimtool.model.network.dim import IMAGENET_DEVIATION, IMAGENET_MEAN, EncoderDecoder, ModelConfig
from dimtool.model.network.vgg16 import load_vgg16

REAL = Path(__file__).parents[4] / "shared" / "weights" / "vgg16_features_fp16.safetensors"
CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: a pooling


def features(image: Tensor, tensors: dict[str, Tensor]) -> list[Tensor]:
    """The five poolings of VGG-16's `features`, from its definition. image: (n, 3, h, w) in 0..1."""
    x = torch.stack([(image[:, i] - IMAGENET_MEAN[i]) / IMAGENET_DEVIATION[i] for i in range(3)], 1)
    index, pooled = 0, []
    for channels in CHANNELS:
        if channels:
            weight, bias = (tensors[f"features.{index}.{part}"].float() for part in ("weight", "bias"))
            x, index = F.relu(F.conv2d(x, weight, bias, padding=1)), index + 2
        else:
            x, index = F.max_pool2d(x, 2), index + 1
            pooled.append(x)
    return pooled


def random_tensors(*, fc6: bool = False) -> dict[str, Tensor]:
    """A state dict as torchvision's, with random values of a sane size."""
    generator = torch.Generator().manual_seed(0)
    tensors, index, inputs = {}, 0, 3
    for channels in CHANNELS:
        if channels:
            weight = torch.randn(channels, inputs, 3, 3, generator=generator) * (2 / 9 / inputs) ** 0.5
            tensors[f"features.{index}.weight"] = weight
            tensors[f"features.{index}.bias"] = torch.randn(channels, generator=generator) * 0.1
            inputs = channels
        index += 2 if channels else 1
    if fc6:
        tensors["classifier.0.weight"] = torch.randn(4096, 25088, generator=generator) * 0.01
        tensors["classifier.0.bias"] = torch.randn(4096, generator=generator)
        tensors["classifier.3.weight"] = torch.zeros(4, 4)
    return tensors


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return random_tensors()


@pytest.fixture
def file(tensors, tmp_path) -> Path:
    save_file(tensors, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.fixture(scope="module")
def network() -> EncoderDecoder:
    return EncoderDecoder(config=ModelConfig(bottleneck="slim"))


def encoder_poolings(network: EncoderDecoder, image: Tensor, trimap: Tensor) -> list[Tensor]:
    """The network's own poolings, caught on their way to the next block."""
    caught: list[Tensor] = []
    stages = [*(block[0] for block in network.encoder.blocks[1:]), network.encoder.bottleneck]
    hooks = [stage.register_forward_pre_hook(lambda _, x: caught.append(x[0].clone())) for stage in stages]
    with torch.no_grad():
        network(image, trimap)
    for hook in hooks:
        hook.remove()
    return caught


def assert_is_vgg16(network: EncoderDecoder, tensors: dict[str, Tensor]) -> None:
    generator = torch.Generator().manual_seed(1)
    image, trimap = (
        torch.rand(2, 3, 64, 32, generator=generator),
        torch.rand(2, 1, 64, 32, generator=generator),
    )
    expected = features(image, tensors)
    for actual in (encoder_poolings(network, image, t) for t in (trimap, torch.zeros_like(trimap))):
        for a, e in zip(actual, expected, strict=True):
            assert (a - e).norm() < 1e-4 * e.norm()


@pytest.mark.skipif(not REAL.exists(), reason="no real weights beside the repository")
def test_the_real_convolutions_give_vgg16s_features(network):
    report = load_vgg16(network.encoder, REAL)
    assert_is_vgg16(network, load_file(REAL))
    assert len(report.loaded) == 26


@pytest.mark.parametrize("form", [".safetensors", ".pth", ".pth of features alone"])
def test_any_form_of_the_file_gives_vgg16s_features(form, network, tensors, tmp_path):
    path = tmp_path / f"weights{form.partition(' ')[0]}"
    if form == ".safetensors":
        save_file(tensors, path)
    else:
        alone = "alone" in form
        torch.save({k.removeprefix("features.") if alone else k: t for k, t in tensors.items()}, path)
    report = load_vgg16(network.encoder, path)
    assert_is_vgg16(network, tensors)
    assert set(report.loaded) == set(tensors)
    assert report.initialised == ("bottleneck.weight", "bottleneck.bias")
    assert str(report) == (
        f"encoder: 26 tensors from {path}; bottleneck.weight and bottleneck.bias initialised by Xavier: "
        "the slim bottleneck is no part of VGG-16"
    )


def test_the_comparison_sees_a_planted_fault(network, tensors, tmp_path):
    swapped = dict(tensors)
    swapped["features.0.weight"] = tensors["features.0.weight"].flip(1)  # BGR, as Caffe's files have it
    save_file(swapped, tmp_path / "w.safetensors")
    load_vgg16(network.encoder, tmp_path / "w.safetensors")
    with pytest.raises(AssertionError):
        assert_is_vgg16(network, tensors)


def test_the_trimaps_channel_starts_at_zero_and_the_bottleneck_is_drawn_anew(network, file):
    torch.nn.init.ones_(network.encoder.convolutions()[0].weight)
    torch.nn.init.ones_(network.encoder.bottleneck.weight)
    load_vgg16(network.encoder, file)
    assert not network.encoder.convolutions()[0].weight[:, 3].any()
    weight = network.encoder.bottleneck.weight
    bound = (6 / (512 + 512)) ** 0.5  # Glorot and Bengio 2010, equation 16
    assert 0.99 * bound < weight.abs().max() <= bound


def test_fc6_becomes_a_convolution_and_its_absence_is_reported(file):
    encoder = EncoderDecoder(config=ModelConfig()).encoder
    assert "initialised by Xavier: no classifier.0 (fc6) there" in str(load_vgg16(encoder, file))
    tensors = random_tensors(fc6=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: tensors)
        report = load_vgg16(encoder)
    assert str(report) == f"encoder: 28 tensors from {vgg16.URL}"
    x = torch.randn(1, 512, 7, 7, generator=torch.Generator().manual_seed(2))
    expected = F.linear(x.flatten(1), tensors["classifier.0.weight"], tensors["classifier.0.bias"])
    with torch.no_grad():
        actual = encoder.bottleneck(x)
    assert actual.shape == (1, 4096, 7, 7)
    assert (actual[..., 3, 3] - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("source", [None, "imagenet"])
def test_torchvisions_file_is_fetched_with_its_hash_checked(source, network, tensors, monkeypatch):
    asked = {}

    def fetch(url: str, **options: object) -> dict[str, Tensor]:
        asked.update(options, url=url)
        return tensors

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    load_vgg16(network.encoder, source)
    assert asked["url"] == "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True


def test_no_network_is_one_line_that_says_what_to_do(network, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    advice = "with --weights FILE, or lay it into .*/checkpoints$"
    with pytest.raises(ValueError, match=rf"cannot fetch http.*not known.*{advice}"):
        load_vgg16(network.encoder)


def test_a_narrow_encoder_is_refused():
    with pytest.raises(ValueError, match=r"width 1 alone, not 0\.25"):
        load_vgg16(EncoderDecoder(config=ModelConfig(width=0.25)).encoder)


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("features.10.weight", None, r"no tensor features\.10\.weight"),
        ("features.28.bias", torch.zeros(3), r"features\.28\.bias is \(3,\), in VGG-16 it is \(512,\)"),
        ("features.0.weight", torch.zeros(64, 4, 3, 3), r"features\.0\.weight is \(64, 4, 3, 3\)"),
    ],
)
def test_a_wrong_tensor_is_named_and_nothing_changes(key, tensor, message, *, network, tensors, file):
    broken = {name: t for name, t in tensors.items() if name != key}
    save_file(broken if tensor is None else {**broken, key: tensor}, file)
    before = {name: p.clone() for name, p in network.named_parameters()}
    with pytest.raises(ValueError, match=rf"^{file}: {message}[^\n]*$"):
        load_vgg16(network.encoder, file)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


class Trap:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("the trap was sprung",)


@pytest.mark.parametrize("content", ["missing", "empty", "garbage", "trap", "list", "broken safetensors"])
def test_an_unreadable_file_is_one_line_with_its_name(content, network, tmp_path, capsys):
    path = tmp_path / ("w.safetensors" if "safetensors" in content else "w.pth")
    if content in {"list", "trap"}:
        torch.save([1, 2] if content == "list" else {"features.0.weight": Trap()}, path)
    elif content != "missing":
        path.write_bytes(b"" if content == "empty" else b"\x80\x02garbage" * 9)
    with pytest.raises(ValueError, match=rf"^{path}: (cannot be read|no tensor)[^\n]*$"):
        load_vgg16(network.encoder, path)
    assert "sprung" not in capsys.readouterr().out
