"""Where problems come from: files, packages, generators, small worlds."""
