"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: `step` steps of `stage` are done.

    best, last: the least validation SAD of all stages so far, and the last one; None before the first.
    validated_on: the digest of the validation set that they are of. crops: the stage has seen so many.
    stage_best, stale: the least of this stage, and how many validations came since. scaler: the state of
    fp16's loss scaler, empty in every other precision.
    """

    stage: int
    step: int
    best: float | None = None
    last: float | None = None
    crops: int = 0
    validated_on: str | None = None
    stage_best: float | None = None
    stale: int = 0
    scaler: dict[str, float] = field(default_factory=dict)

    def is_best(self, sad: float, *, on: str) -> bool:
        """Whether a mean SAD is less than all before it on the validation set of that digest."""
        return self.best is None or self.validated_on != on or sad < self.best

    def after_validation(self, sad: float, *, on: str) -> Progress:
        """The same place, once its validation found a mean SAD on the set of that digest."""
        same = self.validated_on == on
        better = not same or self.stage_best is None or sad < self.stage_best
        return replace(
            self,
            best=sad if self.is_best(sad, on=on) else self.best,
            last=sad,
            validated_on=on,
            stage_best=sad if better else self.stage_best,
            stale=0 if better else self.stale + 1,
        )

    def begin_stage(self, stage: int) -> Progress:
        """The start of another stage of the run."""
        return replace(self, stage=stage, step=0, crops=0, stage_best=None, stale=0)
