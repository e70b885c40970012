"""What `cascade doctor` looks at: how this machine keeps programs in, and how RL of a model could fail without a word.

machine           the sandbox's level and its self-test; no torch
checks            all checks on a model directory, and the rows of their report
subject           a loaded model, as the checks want it
model_checks      between a model's sampler and its trainer
text_checks       between text and token ids
training_checks   rewards, advantages, filters and resumption; these need no model of the user's
"""
