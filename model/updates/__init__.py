"""From gradients to new weights: the rate, what stands still, decay, the weights' average.

Each is a function of the step, of the steps that the stage is planned for, and of what a checkpoint holds: so
a run that goes on moves its weights as if it had never stopped.
"""
