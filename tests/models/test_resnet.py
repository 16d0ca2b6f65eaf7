import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.graphs.cost import predict
from deeprob.models.resnet import ResNet

SMALL = {"num_classes": 5, "blocks": (1, 1), "width": 8, "stem": "small"}


def images(size=16):
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


class Published(nn.Module):
    """The networks of He et al. (2015), under torchvision's names, in plain torch. kernels: of a block."""

    def __init__(self, num_classes, blocks, width, kernels):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            out = inner * (4 if len(kernels) == 3 else 1)
            layer = nn.ModuleList()
            for i in range(count):
                stride = 2 if stage and not i else 1
                block, given = nn.Module(), channels
                for j, kernel in enumerate(kernels, 1):
                    to = out if j == len(kernels) else inner
                    # the one 3x3 of a bottleneck strides, else the first
                    step = stride if j == (2 if len(kernels) == 3 else 1) else 1
                    setattr(block, f"conv{j}", nn.Conv2d(given, to, kernel, step, kernel // 2, bias=False))
                    setattr(block, f"bn{j}", nn.BatchNorm2d(to))
                    given = to
                if stride > 1 or channels != out:
                    projection = nn.Conv2d(channels, out, 1, stride, bias=False)
                    block.downsample = nn.Sequential(projection, nn.BatchNorm2d(out))
                layer.append(block)
                channels = out
            setattr(self, f"layer{stage + 1}", layer)
        self.fc = nn.Linear(channels, num_classes)
        self.stages, self.convs = len(blocks), len(kernels)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in range(self.stages):
            for block in getattr(self, f"layer{stage + 1}"):
                y = x
                for j in range(1, self.convs + 1):
                    y = getattr(block, f"bn{j}")(getattr(block, f"conv{j}")(y))
                    y = y.relu() if j < self.convs else y
                x = (y + (block.downsample(x) if hasattr(block, "downsample") else x)).relu()
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("block", "kernels"), [("basic", (3, 3)), ("bottleneck", (1, 3, 1))])
def test_logits_and_gradients_are_those_of_the_published_network(compare, block, kernels, fused):
    torch.manual_seed(0)
    ours = ResNet(5, blocks=(1, 2, 1), block=block, width=4, fused=fused)
    compare(ours, Published(5, (1, 2, 1), 4, kernels), images(40))


@pytest.mark.parametrize(
    ("blocks", "block", "parameters"),
    [
        ((2, 2, 2, 2), "basic", 11_689_512),
        ((3, 4, 6, 3), "basic", 21_797_672),
        ((3, 4, 6, 3), "bottleneck", 25_557_032),
    ],
)
def test_parameter_names_and_shapes_are_those_of_torchvisions_weights(blocks, block, parameters):
    kernels = (1, 3, 1) if block == "bottleneck" else (3, 3)
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    names = ["conv1.weight", *(f"bn1.{n}" for n in norm)]
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            for j in range(1, len(kernels) + 1):
                names += [f"layer{stage}.{i}.conv{j}.weight"]
                names += [f"layer{stage}.{i}.bn{j}.{n}" for n in norm]
            if i == 0 and (stage > 1 or block == "bottleneck"):
                names += [f"layer{stage}.0.downsample.0.weight"]
                names += [f"layer{stage}.0.downsample.1.{n}" for n in norm]
    with torch.device("meta"):
        model = ResNet(1000, blocks=blocks, block=block)
    state = model.state_dict()
    assert list(state) == [*names, "fc.weight", "fc.bias"]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert state["layer4.0.conv2.weight"].shape == (512, 512, 3, 3)


def test_images_of_other_channels_are_refused():
    with pytest.raises(InputError, match=r"images of shape \(5, 16, 16\); expected 3 channels"):
        ResNet(**SMALL)(torch.zeros(2, 5, 16, 16))


def test_fused_blocks_give_the_same_numbers():
    plain, fused = ResNet(**SMALL), ResNet(**SMALL, fused=True)
    fused.load_state_dict(plain.state_dict())
    for mode in (True, False):
        for model in (plain, fused):
            model.train(mode)
        torch.testing.assert_close(fused(images()), plain(images()))
    torch.testing.assert_close(dict(fused.named_buffers()), dict(plain.named_buffers()))


@pytest.mark.parametrize("blocks", [(2, 2, 2, 2), (3, 4, 6, 3)])
def test_fused_blocks_keep_about_half_of_what_torch_keeps(blocks):
    options = {"blocks": blocks, "stem": "small", "width": 16}
    ours, theirs = (
        predict(ResNet(10, **options, **kind), (3, 32, 32), 4).saved_bytes
        for kind in ({"fused": True}, {"backend": "torch"})
    )
    assert 0.4 * theirs < ours < (0.5 if blocks == (2, 2, 2, 2) else 0.55) * theirs


def test_a_long_stage_begins_its_chains_anew_and_gives_the_same_gradients(compare):
    torch.manual_seed(0)
    options = {"blocks": (7,), "width": 4, "stem": "small"}
    compare(ResNet(5, **options, fused=True), ResNet(5, **options, backend="torch"), images(8))


def test_a_frozen_norm_of_a_fused_block_stays_as_it_is():
    model = ResNet(**SMALL, fused=True)
    model.layer1[0].bn1.eval()
    before = model.layer1[0].bn1.running_mean.clone()
    model(images())
    assert torch.equal(model.layer1[0].bn1.running_mean, before)


def test_zero_init_is_an_option():
    assert not ResNet(**SMALL).layer1[0].bn2.weight.any()
    assert ResNet(**SMALL, zero_init=False).layer1[0].bn2.weight.all()
    assert (
        not ResNet(**SMALL, zero_init=False, norm=False).layer1[0].conv2.weight.any()
    )  # never without norms
    assert not ResNet(**SMALL, block="bottleneck").layer1[0].bn3.weight.any()


@pytest.mark.parametrize("stem", ["small", "imagenet"])
@pytest.mark.parametrize("norm", [True, False])
def test_logits_have_one_column_a_class(stem, norm):
    model = ResNet(5, blocks=(1, 1, 1), width=8, stem=stem, norm=norm)
    assert model(images(32)).shape == (4, 5)


def test_both_backends_share_weights_outputs_and_gradients():
    ours, native = ResNet(**SMALL), ResNet(**SMALL, backend="torch")
    for parameter in ours.parameters():  # the last norms start at zero: fill them, so that every path counts
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    native.load_state_dict(ours.state_dict())
    x = images()
    expected, got = native(x), ours(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    expected.backward(upstream)
    got.backward(upstream)
    for (name, a), b in zip(ours.named_parameters(), native.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    for a, b in zip(ours.buffers(), native.buffers(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("norm", [True, False])
def test_a_block_starts_as_the_identity(norm):
    model = ResNet(**SMALL, norm=norm).eval()
    x = torch.rand(2, 8, 6, 6)
    block = model.layer1[0]
    torch.testing.assert_close(block(x), x)


def test_the_model_uses_no_layer_of_torch():
    foreign = [
        type(module).__name__
        for module in ResNet(5).modules()
        if type(module).__module__.startswith("torch.nn")
        and next(module.parameters(recurse=False), None) is not None
    ]
    assert not foreign


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"stem": "large"}, "expected small or imagenet"),
        ({"block": "wide"}, "expected basic or bottleneck"),
        ({"blocks": ()}, "one to four stages"),
        ({"blocks": (1, 0)}, "at least one block"),
        ({"backend": "jax"}, "expected deeprob or torch"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, said):
    with pytest.raises(ValueError, match=said):
        ResNet(5, **arguments)


def test_a_small_batch_is_learned_by_heart():
    torch.manual_seed(0)
    model = ResNet(**SMALL)
    x, y = images(), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).all()


def test_bottlenecks_learn_a_few_images_by_heart(by_heart):
    torch.manual_seed(0)
    assert by_heart(ResNet(5, blocks=(1, 1), block="bottleneck", width=8, stem="small", fused=True))
