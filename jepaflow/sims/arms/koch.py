"""The Koch arm (low-cost-robot, five joints and a gripper) from primitives: a second embodiment behind the same interface.

Kinematics and masses: `low_cost_robot_6dof` of gym-lowcostrobot (Apache-2.0), base turned so that the arm faces +x.
"""

from __future__ import annotations

from jepaflow.sims.arms.arm import Arm, Workplace
from jepaflow.sims.arms.so101 import add_so101

KOCH = Arm(
    name="koch",
    add=add_so101,
    home=(0.0, -1.2, 1.1, 1.0, 0.0, 0.3),
    closed=-0.174533,
    opened=1.74533,
    release=1.0,
    squeeze=-0.05,
    workplace=Workplace(
        cube=0.010,
        near=(0.105, 0.165),
        across=(-0.09, 0.03),
        bins=((0.11, 0.13), (0.11, -0.13)),
        bin_half=0.047,
        reach_height=(0.03, 0.10),
        laptop=((0.50, 0.02, 0.34), (0.17, 0.02, 0.04), 46.0),
        phone=((0.22, -0.42, 0.34), (0.17, 0.02, 0.03), 46.0),
    ),
)
