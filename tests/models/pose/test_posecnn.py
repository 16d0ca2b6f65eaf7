"""PoseCNN: what it gives, what it learns, how it decodes, what it refuses."""

from types import SimpleNamespace

import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.pose.objects import Objects, ObjectTable
from deeprob.models.pose.posecnn import PoseCNN, SceneOutputs
from deeprob.models.pose.targets import IGNORED, UNKNOWN_OWNER, scene_targets

SMALL = {
    "widths": (8, 8),
    "blocks": (0, 0),
    "strides": (4, 8),
    "class_width": 8,
    "centre_width": 8,
    "pool_width": 8,
    "hidden": 8,
    "min_cells": 4,
}


def make(**changed):
    torch.manual_seed(0)
    return PoseCNN(2, **{**SMALL, **changed})


def batch():
    """Two pictures of 64 x 48 pixels: an object of each class in the first, none in the second."""
    torch.manual_seed(1)
    owners = torch.zeros(2, 12, 16, dtype=torch.uint8)
    owners[0, 2:7, 2:6], owners[0, 3:9, 9:14] = 1, 2
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[:, :3, 3] = torch.tensor([[-0.08, -0.02, 0.5], [0.07, 0.0, 0.6]])
    return SimpleNamespace(
        images=torch.randn(2, 3, 48, 64),
        owners=owners,
        depth=torch.where(owners > 0, 0.5, 0.0),
        labels=[torch.tensor([1, 0]), torch.zeros(0, dtype=torch.int64)],
        T_cam_obj=[poses, poses[:0]],
        K=torch.tensor([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]]).repeat(2, 1, 1),
    )


def told(of, table):
    """Outputs that say what is true."""
    targets = scene_targets(table, of, 4)
    classes = torch.nn.functional.one_hot(targets.classes, 3).permute(0, 3, 1, 2).float() * 20
    centres = torch.zeros(2, 2, 3, 12, 16)
    b, row, column = targets.rows
    centres[b, targets.classes[b, row, column] - 1, :, row, column] = targets.centres
    return SceneOutputs(classes, centres, torch.zeros(2, 8, 12, 16), torch.zeros(2, 8, 6, 8))


def test_targets_say_what_each_cell_shows():
    of = batch()
    of.owners[1, 0, 0] = UNKNOWN_OWNER
    targets = scene_targets(ObjectTable(Objects.spheres(2)), of, 4)
    assert targets.classes[0, 2, 2] == 2
    assert targets.classes[0, 3, 9] == 1
    assert targets.classes[1, 0, 0] == IGNORED
    assert len(targets.centres) == 5 * 4 + 6 * 5
    assert targets.centres[:, :2].norm(dim=1).tolist() == pytest.approx([1.0] * 50)


def test_both_backends_give_the_same_losses_and_gradients():
    of, found = batch(), []
    for backend in ("deeprob", "torch"):
        model = make(backend=backend)
        terms = model.losses(model(of.images), of)
        assert terms.keys() == {"classes", "centres", "rotation"}
        sum(terms.values()).backward()
        found.append([*terms.values(), *(p.grad for p in model.parameters())])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)
    assert all(g is not None and g.isfinite().all() for g in found[0])


def test_pictures_without_an_object_or_a_label_train_on():
    of, model = batch(), make()
    for fill in (0, UNKNOWN_OWNER):
        of.owners[:] = fill
        terms = model.losses(model(of.images), of)
        sum(terms.values()).backward()
        assert terms["centres"].item() == 0
    assert terms["classes"].item() == 0


def test_what_is_true_decodes_to_where_the_objects_are():
    of, model = batch(), make().eval()
    with torch.inference_mode():
        found = model.estimates(told(of, model.table), of, "hough")
    assert [one.label for one in found[0]] in ([1, 0], [0, 1])
    assert found[1] == []
    for label, T in zip(of.labels[0].tolist(), of.T_cam_obj[0], strict=True):
        one = next(f for f in found[0] if f.label == label)
        assert one.T[:3, 3].tolist() == pytest.approx(T[:3, 3].tolist(), abs=1e-3)
        assert one.score > 0.9


def test_every_decode_gives_the_same_objects_in_the_same_order():
    of, model = batch(), make().eval()
    outputs = told(of, model.table)
    with torch.inference_mode():
        found = [model.estimates(outputs, of, decode)[0] for decode in model.decodes]
    assert all([f.label for f in each] == [f.label for f in found[0]] for each in found)
    with torch.inference_mode():
        assert model.estimates(model(of.images), of)[1] is not None  # untrained: whatever it says


def test_boxes_found_where_a_true_one_is_are_trained_on_too():
    of, model = batch(), make()
    boxes, owners = model._trained_boxes(told(of, model.table), scene_targets(model.table, of, 4))
    assert sorted(owners.tolist()) == [0, 0, 1, 1]
    assert boxes[0].tolist() == [0, 8, 8, 23, 27]


def test_a_symmetric_object_costs_nothing_in_a_pose_that_looks_the_same():
    half_turn = torch.diag(torch.tensor([-1.0, -1, 1, 1]))
    points = torch.tensor([[0.05, 0, 0], [-0.05, 0, 0], [0, 0.03, 0.02], [0, -0.03, 0.02]]).repeat(2, 1, 1)
    both = torch.stack([torch.eye(4), half_turn]).repeat(2, 1, 1, 1)
    objects = Objects(**vars(Objects.spheres(2)) | {"discrete": both, "surface": points})
    model, of = make(objects=objects), batch()
    assert model.table.is_symmetric.all()
    with torch.no_grad():
        outputs = model(of.images)
        before = model.losses(outputs, of)["rotation"]
        of.T_cam_obj[0] = of.T_cam_obj[0] @ half_turn
        torch.testing.assert_close(model.losses(outputs, of)["rotation"], before)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"decode": "pnp"}, "hough or depth or icp"),
        ({"strides": (8, 4)}, "a fine one of"),
        ({"cell": 3}, "a part of the stride 4"),
        ({"hidden": 0}, "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        make(**changed)
