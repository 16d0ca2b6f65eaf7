import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from deeprob.data.batches.augment import Layout, _gaussian, stream
from deeprob.data.batches.kernels import blur, warp_and_recolour
from deeprob.layers.kernels.loops import run

LOW, HIGH = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([1.0, 2.0, 3.0])


def by_torch(images, affine, colour, lift) -> torch.Tensor:
    """The same formula in torch's operations: a slow oracle."""
    height, width = images.shape[1:3]
    planes = images.permute(0, 3, 1, 2).double()
    to_pixels = torch.diag(torch.tensor([width / 2, height / 2, 1.0])).double()
    theta = torch.diag(torch.tensor([2 / width, 2 / height])).double() @ affine.double() @ to_pixels
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    warped = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    grey = (planes.mean((2, 3)) @ torch.tensor([0.299, 0.587, 0.114]).double()) / 255
    offset = colour[:, :, 3].double() + lift.double() * grey[:, None]
    mixed = torch.einsum("bij,bjhw->bihw", colour[:, :, :3].double(), warped) + offset[..., None, None]
    return torch.minimum(torch.maximum(mixed, LOW[:, None, None]), HIGH[:, None, None])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 1), (8, 13), (32, 32), (50, 33)])
def test_loop_is_its_formula(height: int, width: int) -> None:
    generator = stream(height, width)
    images = torch.randint(0, 256, (5, height, width, 3), dtype=torch.uint8, generator=generator)
    affine = torch.eye(2, 3) + 0.4 * torch.randn(5, 2, 3, generator=generator)
    affine[:, :, 2] *= 5
    colour = torch.randn(5, 3, 4, generator=generator) * torch.tensor([0.01, 0.01, 0.01, 1])
    lift = torch.randn(5, 3, generator=generator)
    out, where = torch.empty(5, 3, height, width), Layout.whole(5, height, width)[:2]
    run(warp_and_recolour, 5, images, affine, colour, lift, LOW, HIGH, *where, out)
    np.testing.assert_allclose(out, by_torch(images, affine, colour, lift), atol=2e-3)


def test_far_away_samples_repeat_the_border() -> None:
    images = torch.full((1, 4, 4, 3), 10, dtype=torch.uint8)
    images[0, :, -1] = 50
    affine = torch.tensor([[[1.0, 0, 1e6], [0, 1, 1e6]]])
    colour = torch.cat([torch.eye(3) / 100, torch.zeros(3, 1)], 1)[None]
    out, where = torch.empty(1, 3, 4, 4), Layout.whole(1, 4, 4)[:2]
    run(warp_and_recolour, 1, images, affine, colour, torch.zeros(1, 3), LOW, HIGH, *where, out)
    np.testing.assert_allclose(out, 0.5, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (20, 20), (33, 17)])
def test_blur_is_the_gaussian_of_scipy(height: int, width: int) -> None:
    planes = torch.rand(3, 3, height, width, generator=stream(height, width))
    sigma = torch.tensor([0.1, 0.7, 1.2])
    expected = [
        gaussian_filter(p.numpy(), (0, s, s), mode="nearest", radius=3)
        for p, s in zip(planes, sigma.tolist(), strict=True)
    ]
    run(blur, 3, planes, _gaussian(sigma, 1.2))
    np.testing.assert_allclose(planes, np.stack(expected), atol=1e-5)
