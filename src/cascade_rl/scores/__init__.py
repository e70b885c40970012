"""Numbers of evaluations: intervals, comparisons, the gate, the matrix, retention."""
