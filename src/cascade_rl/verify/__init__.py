"""Pure functions from text to score: no torch, no input or output, no clock.

What is here: answers of maths, lettered options, instructions, patches, and the two ends of running programs
(what is sent into the sandbox, and how its output is read). What is not: running anything, asking a model,
and the choice of a reward, which belongs to the domains. What may take long says so, and runs in a process
that can be killed.
"""
