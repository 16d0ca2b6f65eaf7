"""A model's own predictions as labels of unlabelled samples, beside the loss of the labelled ones.

    loss = task.loss(labelled) + w(t) s task.loss(view, labels = what a teacher says of the weak view)

s: the part of the predictions that is confident; the rest has no label. For a mean over samples, s times it
is the sum over the confident ones, over all (equation 4 of FixMatch). w(t) rises from 0 to `weight` over the
first `ramp` steps. The teacher is the model itself, or an exponential moving average of its weights:

    teacher = decay teacher + (1 - decay) student, after every step

                    teacher      labels      trained on
    PseudoLabel     the model    classes     the weak view      Lee 2013
    FixMatch        the model    classes     the strong view    Sohn et al. 2020
    MeanTeacher     an average   shares      the strong view    Tarvainen and Valpola 2017

What a confident prediction is, and how it becomes a label, the task says (`Task.pseudo_labelled`): a class
over a probability, each pixel's, or the boxes over a score, as in Liu et al. 2021, Unbiased Teacher.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deeprob.data.batches.batch import Collate
from deeprob.data.batches.views import WithUnlabelled, WithUnlabelledCollate, expect_unlabelled
from deeprob.errors import InputError
from deeprob.tasks.base import Loss, Task
from deeprob.training.objectives.base import Objective


class SelfTraining(Objective):
    """The loss above.

    threshold: least confidence of a prediction that becomes a label. ratio: unlabelled samples for each
        labelled one. weight: of their loss. ramp: steps over which the weight rises.
    decay: of the teacher's average; 0: the teacher is the model after its last step.
    soft: labels are the teacher's probabilities, where the task has them.
    align: move predictions until their mean is the labels': p_c q_c / mean(p)_c, normalised, where q is the
        share of each class among the labels. Source: Berthelot et al. 2020, ReMixMatch, section 3.1.
    weak, strong: what of data.augmentation is different for the two views of an unlabelled sample.
    """

    own_view: ClassVar[bool] = False
    """Whether the view that is labelled is also the one that is trained on."""

    def __init__(
        self,
        threshold: float = 0.95,
        ratio: int = 3,
        weight: float = 1.0,
        ramp: int = 0,
        decay: float = 0.0,
        soft: bool = False,
        align: bool = False,
        weak: Mapping[str, Any] | None = None,
        strong: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value, fits, expected in (
            ("threshold", threshold, 0 <= threshold <= 1, "0 to 1"),
            ("ratio", ratio, ratio >= 1, "1 or more"),
            ("weight", weight, weight >= 0, "0 or more"),
            ("ramp", ramp, ramp >= 0, "0 or more"),
            ("decay", decay, 0 <= decay < 1, "from 0 to below 1"),
        ):
            if not fits:
                raise InputError(f"objective.{name} is {value:g}", expected=expected)
        self.threshold, self.ratio, self.weight, self.ramp = threshold, ratio, weight, ramp
        self.decay, self.soft, self.align = decay, soft, align
        self.weak, self.strong = dict(weak or {}), dict(strong or {})
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def attach(self, task: Task, model: nn.Module) -> None:
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval() if self.decay else None
        self.prior: Tensor
        self.mean_prediction: Tensor
        prior = task.prior() if self.align else None
        if self.align and prior is None:
            raise InputError(
                f"objective.align is for classes, not for {task.name}", fix="set objective.align=false"
            )
        if prior is not None:
            self.register_buffer("prior", prior)
            self.register_buffer("mean_prediction", prior.clone())
        expect_unlabelled(task.data.unlabelled)

    def collate(self, task: Task, labelled: Collate) -> Collate:
        data = task.data
        return WithUnlabelledCollate(
            labelled,
            weak=data.collate(_changed(data.augmentation, self.weak)),
            strong=data.collate(_changed(data.augmentation, self.weak if self.own_view else self.strong)),
            pool=lambda: expect_unlabelled(data.unlabelled),
            ratio=self.ratio,
            same_geometry=self.own_view or task.labels_have_places,
        )

    def validation(self, task: Task, model: nn.Module, batch: Any) -> Loss | None:
        return task.loss(model, batch)

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        if not isinstance(batch, WithUnlabelled):  # all have labels
            return task.loss(model, batch)
        labelled = task.loss(model, batch.labelled)
        found = self._pseudo_labelled(task, model, batch)
        known = task.data.unlabelled.same_classes
        terms = {
            **labelled.terms,
            "labelled_loss": labelled.total.detach(),
            "pseudo_share": found.share,
            "pseudo_right": found.right if known else torch.full_like(found.right, torch.nan),
        }
        total, share = labelled.total, found.share.to(labelled.total)
        unlabelled = torch.zeros_like(total)
        if bool(share > 0):
            unlabelled = share * task.loss(model, found.batch).total
            total = total + self._weight() * unlabelled
        self.steps += 1
        return Loss(total, {**terms, "unlabelled_loss": unlabelled.detach()})

    @torch.no_grad()
    def _pseudo_labelled(self, task: Task, model: nn.Module, batch: WithUnlabelled) -> Any:
        teacher = self._follow(model)
        training = teacher.training
        teacher.eval()
        try:
            return task.pseudo_labelled(
                teacher, batch.weak, batch.strong, self.threshold, self.soft, self._aligned
            )
        finally:
            teacher.train(training)

    def _weight(self) -> float:
        return self.weight * min(1.0, (int(self.steps) + 1) / self.ramp) if self.ramp else self.weight

    @torch.no_grad()
    def _follow(self, model: nn.Module) -> nn.Module:
        """The teacher after the model's last step."""
        if self.teacher is None:
            return model
        if int(self.steps):
            follow(self.teacher, model, self.decay)
        else:  # weights may have been loaded since
            self.teacher.load_state_dict(model.state_dict())
        return self.teacher

    def _aligned(self, p: Tensor) -> Tensor:
        """Probabilities (N, C), or (N, C, ...), moved as `align` says."""
        if not self.align:
            return p
        axes = [d for d in range(p.dim()) if d != 1]
        self.mean_prediction.lerp_(p.mean(axes).to(self.mean_prediction), 0.01)
        factor = self.prior / self.mean_prediction.clamp_min(1e-6)
        moved = p * factor.to(p).view(1, -1, *[1] * (p.dim() - 2))
        return moved / moved.sum(1, keepdim=True)

    def remark(self, means: Mapping[str, float]) -> str | None:
        share, right = means["pseudo_share"], means["pseudo_right"]
        precision = "not known" if math.isnan(right) else f"{right / share:.3f}" if share else "none"
        return f"pseudo-labels  share {share:.3f}  precision {precision}"


def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move the teacher in place: teacher = decay teacher + (1 - decay) student; counters are copied."""
    for mine, yours in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(yours, 1 - decay)
        else:
            mine.copy_(yours)


class PseudoLabel(SelfTraining):
    """The model's confident predictions for a view are the labels of that view. Source: Lee 2013."""

    own_view = True
    strategy = "Semi-supervised: the model's confident predictions are labels of unlabelled samples"


class FixMatch(SelfTraining):
    """Confident predictions for a weak view are the labels of a strong one. Source: Sohn et al. 2020."""

    strategy = (
        "Semi-supervised: FixMatch, confident predictions for a weakly augmented view are the labels of a "
        "strongly augmented one"
    )


class MeanTeacher(SelfTraining):
    """What an average of the model says of one view is the label of the other. Source: Tarvainen 2017."""

    strategy = "Semi-supervised: mean teacher, an average of the model labels what the model is trained on"


def _changed(augmentation: Any, changes: Mapping[str, Any]) -> Any:
    """An augmentation of the same kind with other strengths. Raises InputError for an unknown one."""
    values = asdict(augmentation)
    unknown = sorted(changes.keys() - values.keys())
    if unknown:
        raise InputError(
            f"objective.weak or objective.strong has {unknown[0]!r}", expected=f"one of {', '.join(values)}"
        )
    return type(augmentation)(**{**values, **changes})
