"""Where problems come from: files, installed packages, generators, small worlds.

What is here
- `shared`       the sources that every domain has: a row there is a source of them all
- `rows`         `file:PATH`, JSONL checked line by line
- `splits`       which split a prompt belongs to, and streams of drawn problems without repeats
- `small_world`  what the built-in problems are made of
- `constraints`  prompts with checkable instructions, composed or of the public benchmarks
- `repairs`      bugs injected into functions of installed packages

What is not
- how a reply is judged: a source makes questions and answers, `verify/` and the domains compare
- data from the net: nothing is downloaded; packages are read where they are installed
- other formats of files (Parquet, columns of other names), and whether own problems are good, new or too easy
"""
