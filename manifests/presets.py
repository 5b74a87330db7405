"""What the published data sets count: how many foregrounds, and how many backgrounds each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A split of Composition-1k: `per_fg` backgrounds a foreground, and the counts to tell it by.

    paper: composites as published (Xu et al., CVPR 2017); foregrounds: how many Adobe gives out.
    """

    per_fg: int
    paper: int
    paper_foregrounds: int
    foregrounds: int
    why: str = ""


PRESETS = {
    "train": Preset(
        per_fg=100,
        paper=49_300,
        paper_foregrounds=493,
        foregrounds=431,
        why="the paper's 493 held duplicates (455 are unique), and 24 of those cannot be released",
    ),
    "test": Preset(per_fg=20, paper=1_000, paper_foregrounds=50, foregrounds=50),
}

# Foregrounds that Adobe's lists have both in train and in test, by their stems.
OFFICIAL_PAIRS = frozenset({"beach-747750_1280"})

# A split of one's own: validation foregrounds are composited like the test set's.
PER_FG = {"train": 100, "val": 20, "test": 20}


def explain_count(split: str, foregrounds: int, composites: int, *, asked: int) -> str:
    """One sentence on what a number of composites means beside the published set.

    asked: composites that the lists ask for. Empty where those are not as many as Adobe's lists name, or the
    paper's: the set is another one.
    """
    preset = PRESETS.get(split)
    if preset is None or asked not in (preset.paper, preset.foregrounds * preset.per_fg):
        return ""
    of_paper = f"{composites:,} of the paper's {preset.paper:,} composites"
    if composites == preset.paper:
        return f"{of_paper}: the full set."
    if foregrounds == preset.foregrounds and composites == preset.foregrounds * preset.per_fg:
        return (
            f"{of_paper}: all {preset.foregrounds} foregrounds that Adobe gives out are there; {preset.why}."
        )
    warning = "; scores on it cannot be compared with published ones" if split == "test" else ""
    return f"{of_paper}, of {foregrounds:,} foregrounds where Adobe gives out {preset.foregrounds}{warning}."
