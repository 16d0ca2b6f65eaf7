"""Two views of the same sample have near embeddings: SimCLR and VICReg.

    z = g(f(view))      f: the network without its classifier, g: a projector that is thrown away after
    SimCLR   loss = NT-Xent(z1, z2)                                                (layers/losses/nt_xent.py)
    VICReg   loss = a mean (z1 - z2)^2 + b (V(z1) + V(z2)) + c (C(z1) + C(z2))     (layers/losses/vicreg.py)

The views are two draws of data.augmentation: of one image, or of two images of one object in one scene, which
a simulator knows to be the same. Sources: Chen et al. 2020, A simple framework for contrastive learning;
Bardes et al. 2022, VICReg.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deeprob.data.batches.batch import Collate
from deeprob.data.batches.views import TwoViews, TwoViewsCollate
from deeprob.errors import InputError
from deeprob.layers import mse_loss, nt_xent_loss, vicreg_covariance, vicreg_variance
from deeprob.tasks.base import Loss, Task
from deeprob.training.objectives.base import Objective
from deeprob.training.objectives.encoder import encoder_of, projector, spread

IMAGE, OBJECT = PAIRS = ("image", "object")
COLLAPSED = 0.1
"""Below this feature_std, or an effective_rank of 2, it is said."""


class Siamese(Objective):
    """What both have in common.

    hidden, out: widths of the projector; depth: its linear layers. pairs: what two views are of, an `image`,
    or an `object`: images of the same class in the same unit of the data set, such as a scene.
    """

    needs_labels: ClassVar[bool] = False

    def __init__(self, hidden: int, out: int, depth: int, pairs: str) -> None:
        super().__init__()
        if pairs not in PAIRS:
            raise InputError(f"objective.pairs is {pairs!r}", expected=" or ".join(PAIRS))
        if min(hidden, out, depth) < 1:
            raise InputError(
                f"objective hidden={hidden}, out={out}, depth={depth}", expected="each at least 1"
            )
        self.hidden, self.out, self.depth, self.pairs = hidden, out, depth, pairs

    def attach(self, task: Task, model: nn.Module) -> None:
        self.projector = projector(encoder_of(model).num_features, self.hidden, self.out, self.depth)

    def collate(self, task: Task, labelled: Collate) -> Collate:
        return TwoViewsCollate(labelled, of_object=self.pairs == OBJECT)

    def validation(self, task: Task, model: nn.Module, batch: Any) -> Loss | None:
        return None  # one view of each sample: what it is worth, the task measures

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        if not isinstance(batch, TwoViews):
            raise InputError(
                f"{type(self).__name__} needs two views of each sample", expected="training batches"
            )
        encode = encoder_of(model)
        # Together: batch norms see both views, as in one batch of twice the size.
        features = encode(torch.cat([batch.inputs, batch.others]))
        z1, z2 = self.projector(features).chunk(2)
        total, terms = self.compare(z1, z2)
        return Loss(total, {**terms, **spread(features[: len(z1)])})

    @abstractmethod
    def compare(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the embeddings (N, out) of two views, and its terms."""

    def remark(self, means: Mapping[str, float]) -> str | None:
        if means["feature_std"] >= COLLAPSED and means["effective_rank"] >= 2:
            return None
        std, rank = means["feature_std"], means["effective_rank"]
        return f"collapse  samples have nearly the same features: std {std:.3f}, effective rank {rank:.1f}"


class SimCLR(Siamese):
    """temperature: of the similarities; lower weighs the nearest of the other samples more."""

    strategy = "Self-supervised: SimCLR, two augmented views of an image have near embeddings, without labels"

    def __init__(
        self, temperature: float = 0.2, hidden: int = 128, out: int = 64, depth: int = 2, pairs: str = IMAGE
    ) -> None:
        super().__init__(hidden, out, depth, pairs)
        if not temperature > 0:
            raise InputError(f"objective.temperature is {temperature:g}", expected="more than 0")
        self.temperature = temperature

    def compare(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return nt_xent_loss(z1, z2, self.temperature), {}


class VICReg(Siamese):
    """invariance, variance, covariance: weights of the three terms."""

    strategy = (
        "Self-supervised: VICReg, two augmented views have near embeddings whose dimensions vary and differ, "
        "without labels"
    )

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        hidden: int = 256,
        out: int = 256,
        depth: int = 3,
        pairs: str = IMAGE,
    ) -> None:
        super().__init__(hidden, out, depth, pairs)
        self.weights = invariance, variance, covariance

    def compare(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        terms = {
            "invariance": mse_loss(z1, z2),
            "variance": vicreg_variance(z1) + vicreg_variance(z2),
            "covariance": vicreg_covariance(z1) + vicreg_covariance(z2),
        }
        total = sum((w * t for w, t in zip(self.weights, terms.values(), strict=True)), torch.zeros(()))
        return total, {name: term.detach() for name, term in terms.items()}
