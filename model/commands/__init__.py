"""The commands of the model half: each parses, calls one function and prints.

Nothing but click is imported at their top: `dimtool --help` must answer without torch.
"""

from .demo import demo_command, demo_page_command
from .evaluate import evaluate_command
from .predict import (
    export_onnx_command,
    export_weights_command,
    import_weights_command,
    predict_command,
)
from .train import train_command

COMMANDS = (
    train_command,
    evaluate_command,
    predict_command,
    export_weights_command,
    export_onnx_command,
    import_weights_command,
    demo_command,
    demo_page_command,
)
