import torch
from torch import nn

from deeprob.models.segmentation.segmenter import Segmenter, starts


class ByColour(Segmenter):
    """A network that sees one pixel alone, and counts how often it is asked."""

    def __init__(self, **options):
        super().__init__(**({"flips": False, "window": (), "overlap": 0.5, "backend": "torch"} | options))
        self.conv, self.sizes = nn.Conv2d(3, 4, 1), []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[2:]))
        return self.conv(images)


def test_windows_begin_at_the_start_and_end_at_the_end():
    assert starts(10, 4, 0.5) == [0, 2, 4, 6]
    assert starts(11, 4, 0.5) == [0, 2, 4, 5, 7]
    assert starts(4, 4, 0.5) == [0]


def test_windows_say_of_a_pixel_what_the_whole_image_does():
    model, images = ByColour(window=(6, 8)), torch.randn(2, 3, 13, 20)
    torch.testing.assert_close(model.segment(images), model(images).softmax(1))
    assert set(model.sizes[:-1]) == {(6, 8)}


def test_an_image_smaller_than_a_window_is_seen_whole():
    model, images = ByColour(window=(64, 64)), torch.randn(1, 3, 13, 20)
    model.segment(images)
    assert model.sizes == [(13, 20)]


def test_flips_are_mirrored_back():
    class ByPlace(ByColour):
        def forward(self, images):
            columns = torch.arange(images.shape[3]).expand(1, 1, *images.shape[2:])
            return torch.cat([images[:, :1], columns.float()], 1)

    images = torch.randn(1, 3, 2, 5)
    scores = ByPlace(flips=True).segment(images)
    torch.testing.assert_close(scores[:, :1], images[:, :1])
    torch.testing.assert_close(scores[:, 1], torch.full((1, 2, 5), 2.0))
