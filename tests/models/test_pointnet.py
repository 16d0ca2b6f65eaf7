import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.metrics.points import PartSegmentation
from deeprob.models.pointnet import PointNet

SMALL = {"num_classes": 5, "width": 8, "features": 32, "dropout": 0.0}


def clouds(batch=4, points=20, seed=0):
    return torch.randn(batch, points, 3, generator=torch.Generator().manual_seed(seed))


def filled(**options):
    """A network whose last layers, which start near zero, have weights that let everything through."""
    torch.manual_seed(0)
    model = PointNet(**(SMALL | options))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


class Reference:
    """PointNet written in torch alone, from the paper, over a state dict in training mode."""

    def __init__(self, state: dict[str, Tensor], parts: bool) -> None:
        self.w, self.parts = state, parts

    def hidden(self, x: Tensor, name: str) -> Tensor:
        """Linear, batch norm over all rows, ReLU."""
        y = F.linear(x, self.w[f"{name}.linear.weight"])
        rows = y.flatten(0, -2)
        y = (y - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt()
        return (y * self.w[f"{name}.norm.weight"] + self.w[f"{name}.norm.bias"]).relu()

    def layers(self, x: Tensor, name: str) -> Tensor:
        count = 0
        while f"{name}.{count}.linear.weight" in self.w:
            x = self.hidden(x, f"{name}.{count}")
            count += 1
        assert count
        return x

    def pool(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.w[f"{name}.pool.weight"], self.w[f"{name}.pool.bias"]).relu().max(1).values

    def transform(self, x: Tensor, name: str) -> Tensor:
        g = self.layers(self.pool(self.layers(x, f"{name}.points.layers"), f"{name}.pool"), f"{name}.hidden")
        matrix = F.linear(g, self.w[f"{name}.matrix.weight"], self.w[f"{name}.matrix.bias"])
        return matrix.view(len(x), x.shape[2], x.shape[2])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.einsum("bpi,bij->bpj", x, self.transform(x, "input_transform"))
        x = self.layers(x, "points.layers")
        A = self.transform(x, "feature_transform")
        x = torch.einsum("bpi,bij->bpj", x, A)
        g = self.pool(self.layers(x, "deeper.layers"), "pool")
        if self.parts:
            joined = torch.cat([x, g[:, None].expand(-1, x.shape[1], -1)], 2)
            weight = torch.cat([self.w["of_point.weight"], self.w["of_cloud.weight"]], 1)
            g = self.layers(F.linear(joined, weight, self.w["of_point.bias"]).relu(), "body.layers")
        else:
            g = self.layers(g, "body")
        logits = F.linear(g, self.w["head.weight"], self.w["head.bias"])
        distance = ((torch.eye(A.shape[1]) - A @ A.mT) ** 2).sum((1, 2)).mean()
        return (logits.mT if self.parts else logits), 0.001 * distance


@pytest.mark.parametrize("backend", ["deeprob", "torch"])
@pytest.mark.parametrize("task", ["classification", "parts"])
def test_logits_penalty_and_gradients_are_those_of_the_paper_in_torch(task, backend):
    model = filled(task=task, backend=backend).double()  # in float32 a near tie may have another winner
    state = {k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()}
    x = clouds().double()
    expected, expected_penalty = Reference(state, task == "parts")(x)
    got = model(x)
    penalty = model.penalty()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(penalty, expected_penalty)
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ((expected * upstream).sum() + 100 * expected_penalty).backward()
    ((got * upstream).sum() + 100 * penalty).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, state[name].grad, msg=lambda m, n=name: f"{n}: {m}")


@given(seed=st.integers(0, 1000), points=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_points_does_not_matter(seed, points):
    model = filled().eval()
    x = clouds(2, points, seed)
    order = torch.randperm(points, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(x[:, order]), rtol=1e-4, atol=1e-5)


def test_labels_of_points_move_with_their_points():
    model = filled(task="parts").eval()
    x, order = clouds(), torch.randperm(20, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:, :, order], model(x[:, order]), rtol=1e-4, atol=1e-5)


def test_transforms_start_as_the_identity_and_cost_nothing():
    model = PointNet(**SMALL)
    x = clouds()
    matrix = model.feature_transform(model.points(x))
    torch.testing.assert_close(matrix, torch.eye(8).expand(4, 8, 8))
    model(x)
    assert model.penalty().item() == pytest.approx(0, abs=1e-9)


def test_penalty_belongs_to_the_last_forward_in_training_and_is_given_once():
    model = filled()
    model.eval()(clouds())
    assert model.penalty().item() == 0
    model.train()(clouds())
    assert model.penalty().item() > 0
    assert model.penalty().item() == 0


def test_without_transforms_there_is_no_penalty():
    model = filled(input_transform=False, feature_transform=False)
    model(clouds())
    assert model.penalty().item() == 0


def test_the_model_uses_no_layer_of_torch():
    foreign = [
        type(module).__name__
        for module in PointNet(**SMALL).modules()
        if type(module).__module__.startswith("torch.nn")
        and next(module.parameters(recurse=False), None) is not None
    ]
    assert not foreign


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "detection"}, "expected classification or parts"),
        ({"width": 0}, "width=0"),
        ({"norm": "group"}, "none or batch or layer"),
        ({"features": 3}, "features=0"),
    ],
)
def test_wrong_arguments_say_what_was_expected(options, said):
    with pytest.raises(InputError, match=said):
        PointNet(**(SMALL | options))


def test_images_are_refused():
    with pytest.raises(InputError, match=r"expected \(B, P, 3\)"):
        PointNet(**SMALL)(torch.zeros(2, 3, 8, 8))


def test_a_handful_of_clouds_is_learned_by_heart():
    torch.manual_seed(0)
    model = PointNet(**SMALL)
    x, y = clouds(8), torch.arange(8) % 5
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        (F.cross_entropy(model(x), y) + model.penalty()).backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).all()


def lollipops(count: int, points: int, seed: int) -> tuple[Tensor, Tensor]:
    """Balls on a leaning stick, turned about the vertical: clouds (count, P, 3), parts (count, P)."""
    rng = np.random.default_rng(seed)
    xyz, parts = np.empty((count, points, 3), np.float32), np.empty((count, points), np.int64)
    for i in range(count):
        length, radius = rng.uniform(1.2, 2.0), rng.uniform(0.3, 0.6)
        stick = trimesh.creation.cylinder(radius=0.1, height=length)
        ball = trimesh.creation.icosphere(subdivisions=2, radius=radius)
        ball.apply_translation([0, 0, length / 2 + radius])
        number = rng.integers(2**31)
        both = [mesh.sample(points // 2, seed=number) for mesh in (stick, ball)]
        turn = trimesh.transformations.euler_matrix(0.6, 0, rng.uniform(0, 6.28), "sxyz")[:3, :3]
        xyz[i] = (np.concatenate(both) - [0, 0, 0.5]) @ turn.T
        parts[i] = np.repeat([0, 1], points // 2)
    return torch.from_numpy(xyz), torch.from_numpy(parts)


def test_parts_of_unseen_objects_are_told_apart():
    torch.manual_seed(0)
    x, y = lollipops(64, 64, 0)
    model = PointNet(2, task="parts", width=16, features=64, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(6):
        for i in range(0, 64, 8):
            optimizer.zero_grad()
            (F.cross_entropy(model(x[i : i + 8]), y[i : i + 8]) + model.penalty()).backward()
            optimizer.step()
    unseen, truth = lollipops(16, 64, 1)
    metric = PartSegmentation({"lollipop": [0, 1]})
    with torch.no_grad():
        predicted = model.eval()(unseen).argmax(1)
    for a, b in zip(truth.numpy(), predicted.numpy(), strict=True):
        metric.update("lollipop", a, b)
    measured = metric.compute()
    assert measured["point_accuracy"] > 0.93
    assert measured["instance_miou"] > 0.85


def test_native_layers_are_only_torchs():
    kinds = {type(m).__module__.split(".")[0] for m in PointNet(**SMALL, backend="torch").modules()}
    ours = {
        type(m).__name__
        for m in PointNet(**SMALL, backend="torch").modules()
        if "deeprob" in type(m).__module__
    }
    assert kinds <= {"torch", "deeprob"}
    assert ours <= {"PointNet", "TNet", "SharedMLP", "GlobalFeature", "HiddenLayer", "NativePointMLPMax"}
    assert issubclass(type(PointNet(**SMALL, backend="torch").pool.pool), nn.Linear)
