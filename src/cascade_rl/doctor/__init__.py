"""What `cascade doctor` looks at: how programs are kept in here, and how RL could fail without a word.

machine           the sandbox's level and its self-test; no torch
checks            all checks on a model directory, and the rows of their report
subject           a loaded model, as the checks want it
model_checks      between a model's sampler and its trainer
text_checks       between text and token ids
reward_checks     rewards and advantages, by numbers alone
stage_checks      filters and resumption, on a tiny stage; neither needs a model of the user's
"""
