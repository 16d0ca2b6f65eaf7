from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from deeprob.models.linear import LinearClassifier
from deeprob.models.two_layer_net import TwoLayerNet
from deeprob.page.pictures import png
from deeprob.tasks.classification.learned import cross_validation_chart, template_names, template_pictures
from deeprob.tasks.classification.pictures import LINE, template_sheet


def test_a_template_is_grey_where_the_weight_is_zero_and_extreme_where_it_is_largest():
    model = LinearClassifier(2, image_size=4)
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.weight[0, 0], model.fc.weight[0, 1] = 0.5, -0.25
    pictures = template_pictures(model)
    assert pictures.shape == (2, 4, 4, 3)
    assert pictures[0, 0, 0, 0] == 255
    assert pictures[0, 0, 1, 0] == 64
    assert set(np.unique(pictures[1])) == {128}


def test_of_more_channels_the_colours_are_shown():
    model = LinearClassifier(2, image_size=4, in_channels=5)
    with torch.no_grad():
        model.fc.weight[:, 3 * 16 :] = 100.0  # no colour: it neither shows nor scales the others
    colours = LinearClassifier(2, image_size=4)
    with torch.no_grad():
        colours.fc.weight.copy_(model.fc.weight[:, : 3 * 16])
    np.testing.assert_array_equal(template_pictures(model), template_pictures(colours))


def test_of_many_units_the_strongest_are_shown_in_their_order():
    model = TwoLayerNet(2, hidden=60, image_size=4)
    everything = 127.5 + 127.5 * model.templates() / model.templates().abs().amax((1, 2, 3), keepdim=True)
    with torch.no_grad():
        model.fc1.weight[5:17] *= 1e-3
    kept = [*range(5), *range(17, 60)]
    expected = everything[kept].round().byte().permute(0, 2, 3, 1)
    np.testing.assert_array_equal(template_pictures(model), expected)


def test_a_model_without_templates_has_no_pictures():
    assert len(template_pictures(torch.nn.Linear(3, 2))) == 0
    assert len(template_pictures(LinearClassifier(2, features="hog", image_size=16))) == 0


@pytest.mark.parametrize(("count", "names"), [(2, ["ball", "goal"]), (3, ["unit 1", "unit 2", "unit 3"])])
def test_templates_are_named_after_classes_or_numbered(count, names):
    assert template_names(count, ["ball", "goal"]) == names


def test_the_sheet_shows_each_template_in_its_place(make_predictions):
    predictions = replace(make_predictions(), templates=np.zeros((4, 8, 8, 3), np.uint8))
    for number, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]):
        predictions.templates[number] = colour
    sheet = template_sheet(predictions, across=3, side=64)
    assert sheet.shape == (2 * (64 + LINE), 3 * 64, 3)
    assert sheet[30, 30].tolist() == [255, 0, 0]
    assert sheet[30, 64 + 30].tolist() == [0, 255, 0]
    assert sheet[64 + LINE + 30, 30].tolist() == [255, 255, 0]
    assert (sheet[64 + LINE :, 64:] == 255).all()  # nothing where there is no fifth
    assert (sheet[64 : 64 + LINE, :64] < 128).any()  # its name
    decoded = cv2.imdecode(np.frombuffer(png(sheet), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(decoded, sheet)


def test_the_chart_tells_mean_and_spread_of_every_k():
    drawing = cross_validation_chart([1, 5], [[0.5, 0.7], [0.8, 1.0]])
    assert "k 1: 0.600 ± 0.141; k 5: 0.900 ± 0.141" in drawing
