"""The words, functions and files of the built-in problems: for a model of a few million parameters.

What is here
- `topics`        two dozen topics with their usual words: alignment and following, source `builtin`
- `everyday`      natural requests for a pretrained model: `chat` and `ifeval-style`
- `functions`     small functions as data, with the teacher's faults and tests that show each: coding
- `functions_to_call`  requests of a household, and the functions that they need: tools
- `repositories`  small repositories with a broken function: swe

What is not: the sums of `maths` and the questions of `multiple_choice`, which stand in their domains;
anything that is hard for a model that can read. A score here says that the machinery works, no more.
"""
