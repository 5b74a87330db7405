"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: `step` steps of `stage` are done.

    best, last: the least validation SAD of all stages so far, and the last one; None before the first.
    validated_on: the digest of the validation set that they are of. crops: the stage has seen so many.
    stage_best, stale: the least of this stage, and how many validations came since.
    """

    stage: int
    step: int
    best: float | None = None
    last: float | None = None
    crops: int = 0
    validated_on: str | None = None
    stage_best: float | None = None
    stale: int = 0

    def after_validation(self, sad: float) -> Progress:
        """The same place, once its validation found a mean SAD."""
        better = self.stage_best is None or sad < self.stage_best
        return replace(
            self,
            best=sad if self.best is None else min(sad, self.best),
            last=sad,
            stage_best=sad if better else self.stage_best,
            stale=0 if better else self.stale + 1,
        )

    def begin_stage(self, stage: int) -> Progress:
        """The start of another stage of the run."""
        return replace(self, stage=stage, step=0, crops=0, stage_best=None, stale=0)
