"""Where a training starts from, and what it leaves alone."""

import re

import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.bodies import ResNetBody
from deeprob.models.detection.mask_rcnn import MaskRCNN
from deeprob.models.resnet import ResNet
from deeprob.schema.models import NetworkSettings
from deeprob.training.experiment import load
from deeprob.training.parts import Parts
from deeprob.training.weights import freeze, head_of, load_pretrained


def model(num_classes=3, seed=0):
    torch.manual_seed(seed)
    return ResNet(num_classes, blocks=(1, 1), width=8, stem="small")


@pytest.fixture
def file(tmp_path):
    """Save what is given, return the file."""

    def save(content, name="weights.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_state_dict_is_loaded_by_name(file):
    given, ours = model(seed=1), model()
    said = load_pretrained(ours, file(given.state_dict()))
    assert same(given.state_dict(), ours.state_dict())
    assert said.startswith(f"{len(ours.state_dict())} of {len(ours.state_dict())} tensors from ")
    assert ";" not in said


def test_a_head_of_other_classes_is_left_out_and_named(file):
    given, ours = model(10, seed=1), model()
    before = ours.fc.weight.clone()
    said = load_pretrained(ours, file(given.state_dict()))
    assert torch.equal(ours.conv1.weight, given.conv1.weight)
    assert torch.equal(ours.fc.weight, before)
    assert "other shape: fc.weight (10, 16) for (3, 16), fc.bias (10,) for (3,)" in said


def test_what_is_missing_and_what_is_unknown_is_listed(file):
    state = model(seed=1).state_dict()
    kept = {name: t for name, t in state.items() if not name.startswith(("fc", "layer2"))}
    said = load_pretrained(model(), file({**kept, "extra": torch.zeros(2)}))
    assert (
        "not in the file: layer2.0.conv1.weight, layer2.0.bn1.weight, layer2.0.bn1.bias and 17 more" in said
    )
    assert said.endswith("not in the model: extra")


@pytest.mark.parametrize("prefix", ["model.", "module.", "module.model."])
@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
def test_other_programs_nesting_and_prefixes_are_seen_through(file, prefix, nested):
    given, ours = model(seed=1), model()
    state = {f"{prefix}{name}": t for name, t in given.state_dict().items()}
    load_pretrained(ours, file({nested: state, "epoch": 3} if nested else state))
    assert same(given.state_dict(), ours.state_dict())


def test_names_from_before_torchvision_renamed_its_detectors_are_known(file):
    sizes = {"widths": (8, 8, 8), "blocks": (0, 0, 0), "width": 8, "neck_norm": False}
    ours = MaskRCNN(3, **sizes, mask_width=8, mask_norm=False)
    given = {
        re.sub(r"(_blocks\.\d|rpn\.head\.conv)(\.0)+\.", r"\1.", name): torch.full_like(value, 2)
        for name, value in ours.state_dict().items()
    }
    for i in range(4):
        for name in ("weight", "bias"):
            given[f"roi_heads.mask_head.mask_fcn{i + 1}.{name}"] = given.pop(
                f"roi_heads.mask_head.{i}.0.{name}"
            )
    assert {"backbone.fpn.inner_blocks.0.weight", "rpn.head.conv.bias"} < given.keys()
    load_pretrained(ours, file(given))
    assert all((value == 2).all() for value in ours.state_dict().values())


def test_a_run_folder_gives_its_best_weights(trained):
    run = trained("a", "trainer.max_epochs=1")
    ours = model()
    assert str(run.checkpoint("best")) in load_pretrained(ours, run.path)
    assert same(load(run, "best").model.state_dict(), ours.state_dict())


def test_safetensors_without_the_package_says_what_to_install(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"not read")
    with pytest.raises(InputError, match=r"safetensors: (reading it needs safetensors; pip|cannot be read)"):
        load_pretrained(model(), tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"conv.weight": torch.zeros(2, 3)},
            r"no weights .*conv.weight \(2, 3\); expected conv1",
        ),
        ({"epoch": 3}, "not a state dict"),
        ([1, 2], "not a state dict"),
        (torch.zeros(3), "not a state dict"),
        (torch.nn.Linear(2, 2), "checkpoint cannot be read"),
    ],
)
def test_a_file_of_anything_else_is_one_line(file, content, said):
    with pytest.raises(InputError, match=said) as error:
        load_pretrained(model(), file(content))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there\.pth: no such file"):
        load_pretrained(model(), tmp_path / "there.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a run folder"):
        load_pretrained(model(), tmp_path / "empty")


def test_a_training_starts_from_the_file_and_evaluates_without_it(trained, file, weights, capsys):
    given = model(seed=1)
    path = file(given.state_dict())
    run = trained("a", f"model.pretrained={path}", "optim.optimizer.lr=0.0", "trainer.max_epochs=1")
    assert "pretrained  38 of 38 tensors from" in capsys.readouterr().out
    assert torch.equal(weights(run)["model.conv1.weight"], given.conv1.weight)
    path.unlink()
    assert torch.equal(load(run, "last").model.conv1.weight, given.conv1.weight)


def test_frozen_layers_keep_weights_and_statistics_and_have_no_gradient(trained, weights):
    at_start = weights(trained("a", "optim.optimizer.lr=0.0", "trainer.max_epochs=1"))
    frozen = weights(trained("b", "model.freeze=['conv1.*','bn1.*','layer1.*']", "trainer.max_epochs=1"))
    for name, value in frozen.items():
        if name.startswith(("model.conv1", "model.layer1")) and "running" not in name and "num_" not in name:
            assert torch.equal(value, at_start[name]), name
    assert torch.equal(frozen["model.bn1.running_mean"], torch.zeros(8))
    assert frozen["model.layer1.0.bn2.num_batches_tracked"] == 0
    assert not torch.equal(frozen["model.layer2.0.conv1.weight"], at_start["model.layer2.0.conv1.weight"])


def test_through_frozen_first_layers_no_graph_is_built(squares_config):
    module = Parts(
        None, None, model(), network=NetworkSettings(freeze=["conv1.*", "bn1.*", "layer1.*"])
    ).module()
    seen = {}
    for name in ("layer1", "layer2"):
        getattr(module.model, name).register_forward_hook(
            lambda _, __, output, name=name: seen.__setitem__(name, output.requires_grad)
        )
    module(torch.randn(2, 3, 16, 16))
    assert seen == {"layer1": False, "layer2": True}
    assert not module.model.bn1.training
    assert module.train().model.layer2[0].bn1.training
    assert not module.model.layer1[0].bn1.training


@pytest.mark.parametrize(
    ("pattern", "near"), [("conv9.*", r"conv1\."), ("layer3.*", r"layer\d\.\*"), ("fc.wieght", "fc.weight")]
)
def test_a_pattern_that_matches_nothing_names_the_nearest(pattern, near):
    with pytest.raises(InputError, match=rf"no parameter matches '{pattern[:3]}.*did you mean '{near}"):
        freeze(model(), [pattern])


def test_freezing_everything_is_refused():
    with pytest.raises(InputError, match="nothing to train"):
        freeze(model(), ["*"])


def test_the_head_is_the_last_layer_or_what_the_model_names():
    ours = model()
    assert [id(p) for p in head_of(ours)] == [id(ours.fc.weight), id(ours.fc.bias)]
    ours.head_names = ("fc", "conv1")
    assert [id(p) for p in head_of(ours)] == [id(ours.fc.weight), id(ours.fc.bias), id(ours.conv1.weight)]


def test_a_classifiers_layers_are_found_inside_a_detector(tmp_path):
    options = {"blocks": [1], "width": 4, "stem": "small"}
    source, inside = ResNet(3, **options), nn.Module()
    inside.backbone = nn.Module()
    inside.backbone.body = ResNetBody(**options)
    torch.save({"state_dict": {f"model.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "a.pt")
    load_pretrained(inside, tmp_path / "a.pt")
    assert torch.equal(inside.backbone.body.conv1.weight, source.conv1.weight)
