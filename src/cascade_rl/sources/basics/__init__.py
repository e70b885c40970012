"""Small functions in plain words: the source `basics` of `coding`.

What is here, in the order of its use
- `numbers`, `lists`, `texts`, `tables`  the tasks, as text: names, words, a thought, function, near misses
- `tasks`      that text read
- `inputs`     made-up arguments by kind, edge cases first
- `questions`  a task asked in one of several ways, with hidden tests

What is not: tasks of HumanEval, nor any that one of these functions would solve (tests hold it), classes,
input and output, and anything that needs an import.
"""
