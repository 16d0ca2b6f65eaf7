"""What torch and Lightning do to torch.nn's modules, they do to ours."""

import copy
import inspect

import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning
from torch import nn

from deeprob import layers

MODULES = [
    name
    for name, module in vars(layers).items()
    if inspect.isclass(module) and issubclass(module, nn.Module) and hasattr(nn, name)
    if module is not getattr(nn, name)  # containers are torch's
]
NORMS = [layers.BatchNorm1d, layers.BatchNorm2d, layers.SyncBatchNorm]


def normalised(norm=layers.BatchNorm2d, **options):
    """A convolution and its norm, which has seen a batch."""
    torch.manual_seed(0)
    model = layers.Sequential(layers.Conv2d(3, 4, 3), norm(4, **options))
    model(images())
    return model


def images(seed=0):
    return torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 2 + 1


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_one_of_torchs_with_another_forward(name):
    ours, theirs = getattr(layers, name), getattr(nn, name)
    if name != "SyncBatchNorm":  # of which DDP asks that it be on a GPU
        assert issubclass(ours, theirs)
    assert ours.forward is not theirs.forward
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


@pytest.mark.parametrize("name", ["Linear", "Conv1d", "Conv2d", "ConvTranspose2d", "MultiheadAttention"])
def test_the_same_seed_gives_the_same_weights(name):
    arguments = (8, 4) if name in ("Linear", "MultiheadAttention") else (8, 4, 3)
    drawn = []
    for room in (layers, nn):
        torch.manual_seed(0)
        drawn.append(getattr(room, name)(*arguments).state_dict())
    assert drawn[0].keys() == drawn[1].keys()
    assert all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])


@pytest.mark.parametrize("norm", NORMS)
def test_averaged_weights_get_their_statistics_anew(norm):
    model = layers.Sequential(norm(3))
    x = torch.randn(50, 3) if norm is layers.BatchNorm1d else images()
    torch.optim.swa_utils.update_bn([x], model)
    mean = x.mean(0) if x.dim() == 2 else x.mean((0, 2, 3))
    torch.testing.assert_close(model[0].running_mean, mean)


def test_torch_finds_what_to_synchronise():
    model = normalised()
    found = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    assert type(found[1]) is nn.SyncBatchNorm
    assert torch.equal(found[1].running_mean, model[1].running_mean)


def test_ours_and_torchs_norms_are_each_synchronised_by_their_own():
    model = layers.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(normalised(), nn.BatchNorm2d(4)))
    assert [type(m) for m in (model[0][1], model[1])] == [layers.SyncBatchNorm, nn.SyncBatchNorm]
    assert layers.SyncBatchNorm.convert_sync_batchnorm(model)[0][1] is model[0][1]


@pytest.mark.parametrize("train_bn", [True, False])
def test_lightning_freezes_all_but_the_norms(train_bn):
    model = normalised()
    BaseFinetuning.freeze(model, train_bn=train_bn)
    assert [p.requires_grad for p in model.parameters()] == [False, False, train_bn, train_bn]
    before = model[1].running_mean.clone()
    model(images(1))
    assert torch.equal(before, model[1].running_mean) == (not train_bn)


def test_statistics_that_are_not_tracked_stay_as_in_torch():
    ours, theirs = normalised(), normalised(nn.BatchNorm2d)
    for model in (ours, theirs):
        model[1].track_running_stats = False
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(images(1)), theirs.train(training)(images(1)))
    assert ours[1].num_batches_tracked == theirs[1].num_batches_tracked == 1
    torch.testing.assert_close(ours[1].running_var, theirs[1].running_var)


def test_functional_transforms_take_the_statistics_out():
    model = normalised()
    torch.func.replace_all_batch_norm_modules_(model)
    assert model[1].running_mean is None
    parameters = dict(model.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x,)).square().sum()

    gradients = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, images()[:, None])
    assert gradients["0.weight"].shape == (5, 4, 3, 3, 3)


def test_a_state_from_before_batches_were_counted_is_loaded():
    state = normalised().state_dict()
    del state["1.num_batches_tracked"], state._metadata["1"]["version"]
    layers.Sequential(layers.Conv2d(3, 4, 3), layers.BatchNorm2d(4)).load_state_dict(state, strict=True)


def test_a_convolution_and_its_norm_become_one():
    model = normalised().eval()
    fused = torch.nn.utils.fuse_conv_bn_eval(*model)
    assert isinstance(fused, layers.Conv2d)
    torch.testing.assert_close(fused(images()), model(images()), rtol=1e-4, atol=1e-5)


def test_weights_are_laid_out_for_pixels():
    model = layers.Sequential(layers.Conv2d(3, 4, 3), layers.ConvTranspose2d(4, 4, 3))
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in model)


def test_a_spectral_norm_goes_over_the_axis_of_the_outputs():
    weights = []
    for room in (layers, nn):
        torch.manual_seed(0)
        conv = nn.utils.parametrizations.spectral_norm(room.ConvTranspose2d(3, 8, 2))
        weights.append(conv.weight)
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "LayerNorm", "BatchNorm2d", "Embedding", "GroupNorm"])
def test_a_module_is_made_without_numbers_and_starts_later(name):
    arguments = {"LayerNorm": (4,), "BatchNorm2d": (4,), "Conv2d": (4, 4, 3)}.get(name, (4, 4))
    kind = getattr(layers, name)
    assert kind(*arguments, device="meta", dtype=torch.float64).weight.dtype == torch.float64
    module = nn.utils.skip_init(kind, *arguments)
    torch.manual_seed(0)
    module.reset_parameters()
    torch.manual_seed(0)
    assert torch.equal(module.weight, kind(*arguments).weight)


@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d", "Conv1d"])
def test_a_window_is_known_as_torch_knows_it(kind):
    ours, theirs = (getattr(room, kind)(2, 3, 3, stride=2, padding=1) for room in (layers, nn))
    for name in ("kernel_size", "stride", "padding", "dilation", "output_padding", "transposed"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert repr(ours) == repr(theirs)


def test_a_transposed_convolution_makes_the_size_it_is_asked_for():
    conv = layers.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    assert conv(torch.zeros(1, 2, 5, 5), output_size=[10, 9]).shape == (1, 3, 10, 9)


@pytest.mark.parametrize("training", [True, False])
def test_attention_goes_into_torchs_encoder(training):
    encoders = []
    for room in (layers, nn):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        layer.self_attn = room.MultiheadAttention(16, 4, batch_first=True)
        encoders.append(nn.TransformerEncoder(layer, 2).train(training))
    x = torch.randn(2, 5, 16)
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    results = []
    for encoder in encoders:
        encoder.load_state_dict(encoders[0].state_dict())
        with torch.set_grad_enabled(training):
            results.append(encoder(x, src_key_padding_mask=mask)[~mask])
    torch.testing.assert_close(*results)


def test_a_table_of_vectors_is_taken_over():
    table = layers.Embedding.from_pretrained(torch.arange(6.0).reshape(3, 2))
    assert table(torch.tensor([2])).tolist() == [[4, 5]]
    assert not table.weight.requires_grad


REFUSED = [
    (layers.Conv2d, (2, 3, 3), {"padding_mode": "circular"}, "padding_mode='zeros', got 'circular'"),
    (layers.Embedding, (3, 2), {"sparse": True}, "sparse=False, got True"),
    (layers.SyncBatchNorm, (4,), {"process_group": 1}, "process_group=None, got 1"),
]


@pytest.mark.parametrize(("kind", "arguments", "options", "words"), REFUSED)
def test_an_argument_that_is_not_taken_is_named(kind, arguments, options, words):
    with pytest.raises(ValueError, match=f"{kind.__name__}: expected {words}"):
        kind(*arguments, **options)


def test_the_axis_of_a_softmax_must_be_said():
    with pytest.raises(ValueError, match="softmax: expected dim from -1 to 0, got None"):
        layers.Softmax()(torch.zeros(2))


@pytest.mark.parametrize("kind", ["LayerNorm", "GroupNorm", "BatchNorm2d"])
def test_a_sign_that_torch_keeps_beside_the_memory_is_read(kind):
    arguments, shape = {
        "LayerNorm": ((64,), (512, 64)),
        "GroupNorm": ((4, 16), (8, 16, 32, 32)),
        "BatchNorm2d": ((16,), (8, 16, 32, 32)),
    }[kind]
    ours, torchs = getattr(layers, kind)(*arguments), getattr(nn, kind)(*arguments)
    weight = torch.linspace(0.5, 2, len(ours.weight))
    for module in (ours, torchs):  # the imaginary part of a conjugate
        module.weight = nn.Parameter(torch.complex(torch.zeros_like(weight), -weight).conj().imag)
    assert ours.weight.is_neg()
    x = torch.randn(shape)
    torch.testing.assert_close(ours(x), torchs(x))
