"""Robot arms on a desk under MuJoCo's physics: SO-101 and Koch, their tasks, cameras and scripted experts."""
