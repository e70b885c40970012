"""Pure functions of the objectives, and the loops that apply them."""
