"""Training with Keras' names and Keras' arithmetic.

fitting       `fit`, `evaluate`, `predict`: read the arguments and join the parts
samples       inputs, targets and weights, checked, and cut into batches
measures      loss, metrics and penalty of a batch and of all samples
stepping      one step on one batch, eager or captured
loop          epochs, batches, Ctrl-C: the loop under `fit` and the chapter's networks
library       the test for code of this package only, which `compile="auto"` may capture
keras_losses  losses under Keras' names
metrics       metrics, also under the names that Keras gives them
callbacks     early stopping, checkpoints, logs, and hooks of your own
history       losses and metrics by epoch, and their plot
progress      the progress bar on a terminal
"""
