"""The cascade: stages in order, each from the weights of the one before, scored and judged."""
