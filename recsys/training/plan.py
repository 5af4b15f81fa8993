"""What a training run is asked to do, as plain data: it travels to the training process.

Must stay light: the server imports it.
"""

from dataclasses import dataclass
from pathlib import Path

from recsys.artifacts.version import Version
from recsys.settings import Settings
from recsys.training.gate import Limits
from recsys.training.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class TrainingPlan:
    """What a run is asked to do. `version` None takes the next free name, which is beyond those `taken` elsewhere;
    `data` None is the sample; `state` is where feedback is, None to learn from the files alone.
    """

    models: Path
    sample: Path
    data: Path | None = None
    state: Path | None = None
    version: Version | None = None
    taken: tuple[Version, ...] = ()
    parameters: Hyperparameters = Hyperparameters()
    limits: Limits = Limits()
    seed: int = 0
    max_bad_share: float = 0.01
    memory_limit_mb: int | None = None

    @property
    def source(self) -> str:
        return str(self.data) if self.data is not None else "sample"


def plan_from(settings: Settings, *, version: Version | None = None) -> TrainingPlan:
    """Make the plan that the settings describe."""
    training = settings.training
    return TrainingPlan(
        models=settings.paths.models,
        sample=settings.paths.sample,
        data=settings.data.path,
        state=settings.paths.state if settings.feedback.enabled else None,
        version=version,
        parameters=Hyperparameters(
            ridge=training.ridge,
            dropout=training.dropout,
            user_scaling=training.user_scaling,
            item_scaling=training.item_scaling,
            half_life=training.half_life,
            max_items=training.max_items,
        ),
        seed=training.seed,
        max_bad_share=settings.data.max_bad_share,
        memory_limit_mb=settings.retraining.memory_limit_mb,
        limits=Limits(
            max_metric_drop=settings.retraining.max_metric_drop,
            max_shrink=settings.retraining.max_shrink,
            min_coverage=settings.retraining.min_coverage,
            max_rating_shift=settings.retraining.max_rating_shift,
            max_metric_rise=settings.retraining.max_metric_rise,
            max_popularity_drop=settings.retraining.max_popularity_drop,
            min_golden_overlap=settings.retraining.min_golden_overlap,
        ),
    )
