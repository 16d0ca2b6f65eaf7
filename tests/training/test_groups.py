import torch

from deeprob.models.resnet import ResNet
from deeprob.training.groups import parameter_groups
from deeprob.training.parts import Parts


def model():
    return ResNet(3, blocks=(1,), width=8, stem="small")


def test_vectors_do_not_decay_unless_asked():
    net = model()
    weights, vectors = parameter_groups(net, net, False, 1.0)
    assert {p.dim() for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0.0
    assert "weight_decay" not in weights
    (everything,) = parameter_groups(net, net, True, 1.0)
    assert len(everything["params"]) == len(list(net.parameters()))


def test_frozen_parameters_are_in_no_group():
    net = model()
    net.conv1.weight.requires_grad_(False)
    found = [id(p) for group in parameter_groups(net, net, False, 0.5) for p in group["params"]]
    assert id(net.conv1.weight) not in found
    assert len(found) == len(set(found)) == len(list(net.parameters())) - 1


def test_the_body_learns_at_its_factor_of_the_heads_rate(trained, weights, squares_config):
    run = trained("a", "optim.backbone_lr_factor=0.1", "optim.optimizer.lr=0.05", "trainer.max_epochs=1")
    rates = [group["initial_lr"] for group in weights(run, "optimizer_states")[0]["param_groups"]]
    sizes = [len(group["params"]) for group in weights(run, "optimizer_states")[0]["param_groups"]]
    torch.testing.assert_close(rates, [0.005, 0.005, 0.05, 0.05])
    module = Parts(None, None, model()).module()
    assert sizes[2:] == [1, 1]  # fc.weight, fc.bias
    assert len(parameter_groups(module, module.model, False, 1.0)) == 2
