"""What all tests share: one thread for torch, and a hypothesis profile without deadlines."""

import os

import torch
from hypothesis import settings

# Times on a loaded machine say nothing about a property.
settings.register_profile("shiftlab", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("shiftlab")

torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
