"""Fixed protocols: start and goal lists, floors, ceilings, seeds, intervals, closed-loop runs."""
