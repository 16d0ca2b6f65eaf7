"""Linear classifiers: s = W f(x) + b, one row of W a class.

`linear_svm` and `softmax_regression` are this one model under two objectives, hinge and cross-entropy; their
losses, written out three times, are in linear_svm.py and softmax_regression.py.

An L2 penalty of lambda / 2 |W|^2 on the loss and a weight decay of lambda in SGD are the same thing, the
gradient lambda W; training uses the decay (optim.optimizer.weight_decay), which spares the bias.
"""

from __future__ import annotations

from torch import Tensor, nn

from deeprob.models.backend import layers_of
from deeprob.models.features import Features
from deeprob.models.initialise import small_classifier


class LinearClassifier(nn.Module):
    """Images (N, in_channels, image_size, image_size) -> scores (N, num_classes).

    features, input_norm, network: see deeprob.models.features.Features.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    """

    def __init__(
        self,
        num_classes: int,
        features: str = "pixels",
        input_norm: bool = False,
        image_size: int = 32,
        in_channels: int = 3,
        backend: str = "deeprob",
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features = Features(features, image_size, in_channels, input_norm, network)
        self.fc = layers_of(backend).Linear(self.features.num_features, num_classes)
        small_classifier(self.fc)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.features(images))
        return scores

    def templates(self) -> Tensor | None:
        """Rows of W as pictures (num_classes, C, H, W), what each class looks for; None but for pixels."""
        return self.features.pictures(self.fc.weight)
