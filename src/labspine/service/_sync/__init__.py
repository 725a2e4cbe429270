"""The blocking door; what a door has only here is written by hand, the rest is generated."""
