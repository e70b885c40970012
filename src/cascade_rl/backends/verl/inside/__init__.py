"""What runs inside verl's own environment: copied into each job, importing nothing of this package.

A job's folder is on the path of verl's processes, so that there these files are the package `inside`.
"""
