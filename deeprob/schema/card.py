"""What `deeprob card` is told of a project."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class CardDataSettings:
    """What files do not tell of a data set. origin: `existing`, or `new`, made for this project."""

    origin: str | None = None
    benchmark: str | None = None
    licence: str | None = None
    link: str | None = None
    collected: str | None = None


@dataclass
class CardNetworkSettings:
    """builds_on: existing code or weights; strategy: how and why it is trained so."""

    builds_on: str | None = None
    strategy: str | None = None


@dataclass
class CardTargetSettings:
    """A machine to train on. speed: samples a second there as a multiple of this machine's, 1: as fast."""

    memory_gb: float | None = None
    disk_gb: float | None = None
    speed: float | None = None


@dataclass
class CardEvaluationSettings:
    """hyper_parameters: how they were chosen. success: what number would make the project a success."""

    hyper_parameters: str | None = None
    success: str | None = None


@dataclass
class CardPaperSettings:
    """One paper in short: its problem, its idea, and what of it is used here."""

    title: str | None = None
    link: str | None = None
    problem: str | None = None
    idea: str | None = None
    used: str | None = None


@dataclass
class CardSettings:
    """What `deeprob card` cannot know by itself; what stays null is shown as not stated."""

    question: str | None = None
    related_work: str | None = None
    data: CardDataSettings = field(default_factory=CardDataSettings)
    network: CardNetworkSettings = field(default_factory=CardNetworkSettings)
    evaluation: CardEvaluationSettings = field(default_factory=CardEvaluationSettings)
    paper: CardPaperSettings = field(default_factory=CardPaperSettings)
    targets: dict[str, CardTargetSettings] = field(
        default_factory=lambda: {"laptop": CardTargetSettings(), "cluster": CardTargetSettings()}
    )
