import pytest
import torch

from deeprob.models.resnet import ResNet

SMALL = {"num_classes": 5, "blocks": (1, 1), "width": 8, "stem": "small"}


def images(size=16):
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


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


def test_parameter_names_are_those_of_the_published_weights():
    names = ResNet(10, stem="imagenet").state_dict().keys()
    assert "conv1.weight" in names
    assert "layer2.0.downsample.0.weight" in names
    assert "layer4.1.bn2.running_var" in names
    assert "fc.bias" in names


def test_resnet18_has_its_published_number_of_parameters():
    assert sum(p.numel() for p in ResNet(1000).parameters()) == 11_689_512


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
