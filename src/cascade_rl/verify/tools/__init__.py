"""Function calls in a reply: read by their tags, held against the calls that are wanted.

What is here
- `calls`    the calls of an answer; what is no call
- `answer`   the answer of a problem: functions that are offered, calls that are wanted
- `values`   whether an argument is one that is admitted, by its declared type
- `matching` which calls fit which wanted ones, in any order

What is not: calls are compared, never run; a conversation is judged turn by turn, each turn given what was
said before it. BFCL's Java and JavaScript categories, whose values are source text, are not read.
"""
