"""jepaflow: compact JEPA world models trained from the pixels of LeRobot datasets, judged honestly, and planned with."""

__version__ = "0.1.0"
