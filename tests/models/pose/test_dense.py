"""The dense network: what it gives, what it learns, what it refuses."""

from types import SimpleNamespace

import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.pose.by_class import LinearByClass
from deeprob.models.pose.dense import PoseDense
from deeprob.models.pose.objects import Objects
from deeprob.models.pose.targets import UNKNOWN

SMALL = {
    "widths": (8, 8, 8, 8),
    "width": 8,
    "head_widths": (8,),
    "hidden": 8,
    "image_size": 32,
    "fragments": 4,
}


def make(**changed):
    torch.manual_seed(0)
    return PoseDense(2, **{**SMALL, **changed})


def batch(count=4):
    torch.manual_seed(1)
    K = torch.tensor([[100.0, 0, 15.5], [0, 100, 15.5], [0, 0, 1]]).repeat(count, 1, 1)
    T = torch.eye(4).repeat(count, 1, 1)
    T[:, 2, 3] = 0.5
    return SimpleNamespace(
        images=torch.randn(count, 3, 32, 32),
        labels=torch.arange(count) % 2,
        K=K,
        T_cam_obj=T,
        depth=torch.full((count, 4, 4), 0.48),
        mask=torch.ones(count, 4, 4, dtype=torch.uint8),
    )


def test_outputs_are_of_each_crops_own_class():
    of = batch()
    said = make().eval().read(make().eval()(of.images), of.labels)
    shapes = [tuple(o.shape) for o in said]
    assert shapes == [(4, 16), (4, 16, 4), (4, 16, 3), (4, 16), (4, 3, 3), (4, 3)]
    torch.testing.assert_close(said.rotation @ said.rotation.mT, torch.eye(3).repeat(4, 1, 1))
    layer, x = LinearByClass(2, 3, 5), torch.randn(4, 3, 7)
    wanted = [layer.weight[c] @ x[i] + layer.bias[c][:, None] for i, c in enumerate(of.labels)]
    torch.testing.assert_close(layer(x, of.labels), torch.stack(wanted))


def test_both_backends_give_the_same_losses_and_gradients():
    of, found = batch(), []
    for backend in ("deeprob", "torch"):
        model = make(backend=backend)
        terms = model.losses(model(of.images), of)
        sum(terms.values()).backward()
        found.append([*terms.values(), *(p.grad for p in model.parameters())])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_every_parameter_is_trained():
    model, of = make(), batch()
    terms = model.losses(model(of.images), of)
    assert terms.keys() == {
        *("mask", "points", "fragments", "cell_distances"),
        *("rotation", "place", "distance"),
    }
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_without_fragments_points_are_the_offsets():
    model, of = make(fragments=0), batch()
    assert "fragments" not in model.losses(model(of.images), of)


def test_crops_whose_object_nobody_marked_train_on():
    model, of = make(), batch()
    of.mask[:], of.depth[:] = UNKNOWN, 0
    with torch.no_grad():
        terms = model.losses(model(of.images), of)
    assert float(terms["mask"]) == float(terms["points"]) == float(terms["cell_distances"]) == 0
    assert float(terms["rotation"]) > 0


def test_a_symmetric_object_costs_nothing_in_a_pose_that_looks_the_same():
    half_turn = torch.diag(torch.tensor([-1.0, -1, 1, 1]))
    both = torch.stack([torch.eye(4), half_turn]).repeat(2, 1, 1, 1)
    objects = Objects(**vars(Objects.spheres(2)) | {"discrete": both})
    model, of = make(objects=objects), batch()
    with torch.no_grad():
        before = model.losses(model(of.images), of)
        of.T_cam_obj = of.T_cam_obj @ half_turn
        after = model.losses(model(of.images), of)
    for name in ("points", "rotation", "place", "distance"):
        torch.testing.assert_close(after[name], before[name])
    apart = make(objects=objects, symmetries=False)
    with torch.no_grad():
        assert not torch.isclose(apart.losses(apart(of.images), of)["rotation"], after["rotation"])


def test_every_decode_gives_finite_poses_and_scores():
    corners = torch.tensor([[0.04, 0, 0], [0, 0.04, 0], [0, 0, 0.04], [0, 0, 0.0]])
    tetrahedron = corners[torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])]
    known = vars(Objects.spheres(2)) | {"triangles": torch.stack([tetrahedron, 0 * tetrahedron])}
    model, of = make(objects=Objects(**known)).eval(), batch()
    with torch.inference_mode():
        for decode in model.decodes:
            poses, scores = model.poses(model(of.images), of, decode)
            assert poses.shape == (4, 4, 4)
            assert (poses[:, 2, 3] > 0).all()
            assert ((scores >= 0) & (scores <= 1)).all()
    assert model.became.total() == 2 * 4  # by `render` and by `render_rgb`
    assert model.became["no mesh to draw"] == 2 * int((of.labels == 1).sum())


def test_a_checkpoint_knows_the_objects():
    turns = torch.eye(4).repeat(2, 3, 1, 1)
    known = Objects(**vars(Objects.spheres(2)) | {"diameter": torch.tensor([0.2, 0.3]), "discrete": turns})
    again = make()
    again.load_state_dict(make(objects=known).state_dict())
    assert again.table.diameter.tolist() == pytest.approx([0.2, 0.3])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decode": "epnp"}, "decode='epnp'"),
        ({"image_size": 30}, "a multiple of stride=8"),
        ({"fragments": 600}, "0 to 512"),
    ],
)
def test_wrong_arguments_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        make(**changed)


def test_crops_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"crops of \(64, 64\)"):
        make()(torch.zeros(1, 3, 64, 64))
