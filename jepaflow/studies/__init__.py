"""Whole experiments: many trainings that differ in one thing, the same measures on each, a figure and rows to publish."""
