"""minerva-ml: reconstructed MINERvA events as jagged tensors in a file of ``torch.save``."""

from shiftlab.events.minerva_ml.reader import MinervaMLReader
from shiftlab.events.minerva_ml.write import write_minerva_ml

__all__ = ["MinervaMLReader", "write_minerva_ml"]
