"""The network beside its description: shapes, counts, sizes, stages, and that it learns."""

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Prediction, max_unpool

NARROW = ModelConfig(width=1 / 8)


def make_inputs(n: int = 2, h: int = 64, w: int = 32, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    trimap = torch.tensor([0, 128 / 255, 1])[torch.randint(3, (n, 1, h, w), generator=generator)]
    return torch.rand(n, 3, h, w, generator=generator), trimap


def make_network(config: ModelConfig = NARROW, *, seed: int = 0, refining: bool = True) -> DeepImageMatting:
    """A network whose parts all matter: a new refinement would add nothing."""
    torch.manual_seed(seed)
    network = DeepImageMatting(config)
    if refining and network.refinement is not None:
        nn.init.normal_(network.refinement.prediction.weight, std=0.1)
    return network


def count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("bottleneck", "total"), [("fc6", 130_536_897), ("slim", 26_200_001)])
def test_the_papers_number_of_parameters(bottleneck, total):
    with torch.device("meta"):
        network = DeepImageMatting(ModelConfig(bottleneck=bottleneck))
    assert count(network.encoder_decoder) == total
    assert count(network.refinement) == 76_801
    encoder = [m for m in network.encoder_decoder.encoder.modules() if isinstance(m, nn.Conv2d)]
    decoder = [m for m in network.encoder_decoder.decoder.modules() if isinstance(m, nn.Conv2d)]
    assert len(encoder) == 14
    assert [(m.out_channels, *m.kernel_size) for m in decoder] == [
        (512, 1, 1),
        *((channels, 5, 5) for channels in (512, 256, 128, 64, 64)),
        (1, 5, 5),
    ]


def by_definition(network: DeepImageMatting, image: Tensor, trimap: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse and refined alpha by the paper's description, with PyTorch's own pooling and its indices."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (image - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    weights = [(m.weight, m.bias) for m in network.modules() if isinstance(m, nn.Conv2d)]
    encoder, decoder, refinement = weights[:14], weights[14:21], weights[21:]
    x, indices = torch.cat([normalised, trimap], 1), []
    for i, (weight, bias) in enumerate(encoder):
        x = F.relu(F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))
        if i in {1, 3, 6, 9, 12}:
            x, index = F.max_pool2d(x, 2, return_indices=True)
            indices.append(index)
    x = F.relu(F.conv2d(x, *decoder[0]))
    for weight, bias in decoder[1:6]:
        x = F.relu(F.conv2d(F.max_unpool2d(x, indices.pop(), 2), weight, bias, padding=2))
    coarse = torch.sigmoid(F.conv2d(x, *decoder[6], padding=2))
    x = torch.cat([image, coarse], 1)
    for weight, bias in refinement[:3]:
        x = F.relu(F.conv2d(x, weight, bias, padding=1))
    return coarse, coarse + F.conv2d(x, *refinement[3], padding=1)


@pytest.mark.parametrize("bottleneck", ["fc6", "slim"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_the_papers_description_with_its_gradients(bottleneck, layout):
    network = make_network(ModelConfig(width=1 / 8, bottleneck=bottleneck)).double()
    network = network.to(memory_format=layout)
    image, trimap = (x.double() for x in make_inputs())
    results = []
    for function in (network, lambda *inputs: by_definition(network, *inputs)):
        coarse, refined = function(image, trimap)
        gradients = torch.autograd.grad((coarse**2).sum() + (refined**3).sum(), list(network.parameters()))
        results.append((coarse, refined, *gradients))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fault", ["no normalisation", "another unpooling", "another alpha to refine"])
def test_the_comparison_sees_a_planted_fault(fault, monkeypatch):
    network = make_network()
    if fault == "no normalisation":
        network.encoder_decoder.mean.zero_()
    elif fault == "another unpooling":
        monkeypatch.setattr(
            "dimtool.model.network.dim.max_unpool", lambda x, places: max_unpool(x, places.flip(3))
        )
    else:
        network.refinement.register_forward_pre_hook(lambda _, inputs: (inputs[0], inputs[1] / 255))
    with torch.no_grad():
        actual, expected = network(*make_inputs()), by_definition(network, *make_inputs())
    assert (actual.refined - expected[1]).abs().max() > 1e-5


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 2), h=st.integers(1, 70), w=st.integers(1, 70))
def test_any_size_is_padded_with_its_last_pixels_and_cut_back(n, h, w):
    network = make_network()
    image, trimap = make_inputs(n, h, w)
    rows = torch.arange(-(-h // 32) * 32).clamp(max=h - 1)
    columns = torch.arange(-(-w // 32) * 32).clamp(max=w - 1)
    with torch.no_grad():
        prediction = network(image, trimap)
        padded = network(image[:, :, rows][..., columns], trimap[:, :, rows][..., columns])
    assert prediction.alpha.shape == (n, 1, h, w)
    for actual, expected in zip(prediction, padded, strict=True):
        torch.testing.assert_close(actual, expected[..., :h, :w], rtol=1e-5, atol=1e-6)


def test_the_result_is_in_range_and_the_sum_is_not_clamped():
    network = make_network()
    nn.init.constant_(network.refinement.prediction.bias, 2.0)
    prediction = network(*make_inputs())
    assert prediction.coarse.min() > 0 and prediction.coarse.max() < 1
    assert prediction.refined.min() > 1
    assert (prediction.alpha == 1).all()
    prediction.refined.sum().backward()
    assert network.refinement.prediction.bias.grad.item() == 2 * 64 * 32


def test_a_new_refinement_changes_nothing_and_can_learn():
    network = make_network(refining=False)
    prediction = network(*make_inputs())
    assert torch.equal(prediction.refined, prediction.coarse)
    optimizer = torch.optim.Adam(network.refinement.parameters(), lr=1e-3)
    before = [p.clone() for p in network.refinement.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        (network(*make_inputs()).refined - 0.8).abs().mean().backward()
        optimizer.step()
    assert all((p != b).any() for p, b in zip(network.refinement.parameters(), before, strict=True))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_trains_its_own_part(stage):
    learning = {1: {"encoder_decoder"}, 2: {"refinement"}, 3: {"encoder_decoder", "refinement"}}[stage]
    network = make_network()
    network.set_stage(stage)
    prediction = network(*make_inputs())
    assert torch.equal(prediction.coarse, prediction.refined) == (stage == 1)
    prediction.refined.sum().backward()
    learnt = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert learnt == learning
    assert {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad} == learning


def test_without_a_refinement_stage_1_is_the_only_stage():
    network = make_network(ModelConfig(width=1 / 8, refinement=False))
    prediction = network(*make_inputs())
    assert torch.equal(prediction.coarse, prediction.refined)
    assert not any("refinement" in name for name in network.state_dict())
    with pytest.raises(ValueError, match="stage 2 needs the refinement"):
        network.set_stage(2)


def test_the_state_holds_parameters_alone():
    network = make_network()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


def test_a_narrow_bfloat16_network_stays_near_float32():
    network = make_network().to(memory_format=torch.channels_last)
    image, trimap = make_inputs(2, 96, 64)
    with torch.no_grad():
        expected = network(image, trimap)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(image, trimap)
        low = network.bfloat16()(image, trimap)
    for prediction in (mixed, low):
        for actual, e in zip(prediction, expected, strict=True):
            assert actual.dtype == torch.float32
            assert (actual - e).abs().max() < 0.02
    assert len(mixed.coarse.unique()) > 4 * len(mixed.coarse.bfloat16().unique())  # not rounded to bfloat16


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler does it
def test_compiled_in_one_graph_it_gives_the_same():
    network = make_network()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    inputs, results = make_inputs(2, 40, 33), []
    for function in (network, compiled):
        prediction = function(*inputs)
        gradients = torch.autograd.grad((prediction.refined**2).sum(), list(network.parameters()))
        results.append((*prediction, *gradients))
    assert isinstance(prediction, Prediction)
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


class AlphaOf(nn.Module):
    """What an export takes: two images in, one out."""

    def __init__(self, network: DeepImageMatting) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        alpha: Tensor = self.network(image, trimap).alpha
        return alpha


def test_exported_with_free_sizes_it_gives_the_same():
    free = torch.export.Dim.AUTO
    sizes = {0: free, 2: free, 3: free}
    network = make_network().eval()
    program = torch.export.export(
        AlphaOf(network), make_inputs(2, 70, 45), dynamic_shapes=(sizes, sizes), strict=False
    ).module()
    for shape in ((1, 50, 90), (3, 33, 50), (2, 100, 65)):
        inputs = make_inputs(*shape)
        torch.testing.assert_close(program(*inputs), network(*inputs).alpha, rtol=1e-5, atol=1e-6)


def test_the_configuration_survives_json():
    config = ModelConfig(bottleneck="slim", width=0.25, refinement=False)
    assert ModelConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bottleneck": "fc7"}, r"bottleneck is 'fc7'; choose 'fc6' or 'slim'"),
        ({"width": 0}, r"width is 0;"),
        ({"width": 1.5}, r"width is 1\.5;"),
        ({"width": float("nan")}, r"width is nan;"),
    ],
)
def test_a_wrong_configuration_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**fields)


def test_widths_give_multiples_of_eight():
    widths = [0.001, 0.03, 1 / 8, 0.3, 0.7, 1]
    assert [ModelConfig(width=w).channels(64) for w in widths] == [8, 8, 8, 16, 48, 64]
    assert [ModelConfig(width=w).channels(512) for w in widths] == [8, 16, 64, 152, 360, 512]


@pytest.mark.parametrize(
    ("image", "trimap", "message"),
    [
        (torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 8, 8), r"image \(1, 4, 8, 8\).*give \(n, 3, h, w\)"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 9), r"trimap \(1, 1, 8, 9\)"),
        (torch.zeros(3, 8, 8), torch.zeros(1, 8, 8), r"image \(3, 8, 8\)"),
        (
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
            torch.zeros(1, 1, 8, 8),
            r"torch\.uint8.*divided by 255",
        ),
    ],
)
def test_wrong_inputs_are_refused(image, trimap, message):
    with pytest.raises(ValueError, match=message):
        make_network()(image, trimap)
