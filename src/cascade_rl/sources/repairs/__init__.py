"""Repairs of code: bugs injected into functions of installed packages, with tests of what these did before.

What is here, in the order of its use
- `harvest`       functions that can stand alone, each with what it needs, as one file; copies are recognised
- `bugs`          every small change of the kinds that people make
- `probe`         made-up arguments, recorded results, the bugs that they show (run by `probe_inside`)
- `packages`      the source `packages`: a repository of up to five files, an issue, tests

What is not: bugs that people made, changes over several files, classes and code with effects (a function must
neither read nor write anything), and packages whose source can't be read. The functions are run in processes
with limits, not in the sandbox: they come from the installation, not from a model.
"""
