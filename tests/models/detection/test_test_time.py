import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import Decoding
from deeprob.models.detection.fcos import FCOS
from deeprob.models.detection.test_time import Looks, detect


class Bright:
    """Finds the box around what is bright in an image."""

    decoding = Decoding(0.1, 100, 0.5, 10)

    def __init__(self, *looks):
        self.looks, self.sizes = Looks(*looks), []

    def __call__(self, images):
        self.sizes.append(tuple(images.shape[2:]))
        return images

    def detect(self, images):
        found = []
        for image in images:
            rows, columns = torch.nonzero(image[0] > 0.5, as_tuple=True)
            box = torch.stack([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
            score = 0.5 + image.shape[2] / 1000
            found.append(Detections(box[None], torch.tensor([score]), torch.tensor([0])))
        return found


@pytest.fixture
def images():
    images = torch.zeros(2, 3, 40, 60)
    images[0, :, 10:20, 5:25] = images[1, :, 4:30, 40:56] = 1
    return images


def test_every_look_finds_the_same_box_and_one_is_left(images):
    model = Bright((1.0, 2.0, 0.5), True)
    found = detect(model, images)
    assert model.sizes == [(40, 60)] * 2 + [(80, 120)] * 2 + [(20, 30)] * 2
    for of_image, box in zip(found, ([4.5, 9.5, 24.5, 19.5], [39.5, 3.5, 55.5, 29.5]), strict=True):
        torch.testing.assert_close(of_image.boxes, torch.tensor([box]), atol=1.0, rtol=0)
        assert of_image.scores.item() == pytest.approx(0.62)  # of the largest look


def test_a_mirror_image_alone_changes_nothing_of_a_symmetric_finder(images):
    plain, mirrored = (detect(Bright((1.0,), flip), images) for flip in (False, True))
    for one, other in zip(plain, mirrored, strict=True):
        torch.testing.assert_close(one.boxes, other.boxes)


def test_scales_that_are_none_are_refused():
    for scales in ((), (0.0,)):
        with pytest.raises(InputError, match="test_scales"):
            FCOS(2, test_scales=scales)
    with pytest.raises(InputError, match="soft_nms"):
        FCOS(2, soft_nms=-1.0)
