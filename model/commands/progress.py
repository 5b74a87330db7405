"""The bars of the modelling commands."""

from __future__ import annotations

from ...progress import Bar


class TrainBar(Bar):
    """A training's progress: loss, crops/s, share of the time spent waiting for data, time left."""

    unit = "steps"

    def stage(self, stage: int, steps: int, done: int) -> None:
        """Start a stage's bar."""
        self.start(steps, done, description=f"stage {stage}")

    def tick(self) -> None:
        """Move it by a step."""
        self.advance(1)

    def step(self, steps: int, values: dict[str, float]) -> None:
        """Say what came of the last steps."""
        text = f"loss {values['loss']:.4f}, {values['crops_per_second']:.1f} crops/s"
        self.advance(0, f"{text}, waiting {values['waiting']:.0%}")
