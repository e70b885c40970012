"""Where problems come from: files, installed packages, generators, small worlds.

What is here
- `shared`       the sources that every domain has: a row there is a source of them all
- `tables`       rows as problems, each counted; `own_rows` as conversations and pairs, by `own_maps`
- `parts`        what a source of rows is read in: files, those of a package (`installed`), a set (`hub`)
- `formats`      files as a stream of rows; `parquet` is the part that needs pyarrow
- `maps`         rows of public shapes by name; `operations` makes own maps
- `columns`, `code_tests` and `repair_rows` help both
- `rows`         a row of our form as a checked problem
- `splits`       which split a prompt belongs to, and streams of drawn problems without repeats
- `functions`    functions to write: tasks of `basics`, those of packages, HumanEval
- `small_world`  what the built-in problems are made of
- `constraints`  prompts with checkable instructions, composed or of the public benchmarks
- `repairs`      bugs injected into functions of installed packages

What is not
- how a reply is judged: a source makes questions and answers, `verify/` and the domains compare
- data from the net, but for `hub`, whose sets a recipe names with their revision; packages are read where
  they are installed
- whether own problems are good, new or too easy
"""
