"""What the options of `train` stand under in its help."""

from __future__ import annotations

SECTIONS = {
    "The run": (
        "recipe",
        "shards",
        "cache",
        "out",
        "stage",
        "steps",
        "epochs",
        "time_limit",
        "resume",
        "seed",
        "save_every",
        "keep",
        "log_every",
        "tracker",
        "page",
    ),
    "The network": ("bottleneck", "width", "normalisation", "weights", "init", "init_part", "freeze"),
    "How it learns": (
        "batch_size",
        "accumulate",
        "learning_rate",
        "lr_schedule",
        "warmup",
        "weight_decay",
        "clip",
        "ema",
        "on_nan",
    ),
    "Validation": ("val_shards", "val_share", "val_count", "val_radius", "val_every", "patience"),
    "Crops": ("crop_size", "crop_cuts", "radii", "stage2_radius", "skip_bad"),
    "Crops that vary": (
        "radii_draw",
        "uneven_trimaps",
        "recompose",
        "join",
        "zoom",
        "turn",
        "colour",
        "noise",
        "jpeg",
    ),
    "Speed": ("precision", "compile", "compile_mode", "workers", "gradient_compression"),
}
