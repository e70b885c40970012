"""Prompts with instructions that a program can check: composed here, or those of the public benchmarks.

What is here
- `prompts`         one to ten constraints of IFEval's or IFBench's kinds that go together, worded and split
- `requests`        what is asked for, before any constraint; `subjects` is what it is about
- `wordings`        the ways in which people ask for each constraint
- `arguments`       their numbers and words
- `composer`        a reply that meets them: the proof that a prompt can be answered, itself checked
- `composer_words`  replies that rule each word or sentence
- `public`          the prompts of IFEval and IFBench, from the packages that carry them, held out

What is not: the checkers themselves (`verify.instructions`), natural replies (the composed ones only keep the
rules), and IFBench's fixed questions (`custom:*`, `repeat:repeat_simple`), which would train on the test.
"""
