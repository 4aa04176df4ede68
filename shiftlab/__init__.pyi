from shiftlab.arms import load_arms as load_arms
from shiftlab.bias import Bias as Bias
from shiftlab.bias import bias as bias
from shiftlab.detector import NOMINAL as NOMINAL
from shiftlab.detector import Detector as Detector
from shiftlab.detector import Universe as Universe
from shiftlab.detector import detector as detector
from shiftlab.detector import effects as effects
from shiftlab.detector import multisim as multisim
from shiftlab.detector import unisim as unisim
from shiftlab.events import Deposits as Deposits
from shiftlab.events import EventTable as EventTable
from shiftlab.events import Image as Image
from shiftlab.events import Tokens as Tokens
from shiftlab.events import read as read
from shiftlab.events import read_tokens as read_tokens
from shiftlab.events import stream as stream
from shiftlab.fit import FitResult as FitResult
from shiftlab.fit import fit as fit
from shiftlab.report import report as report
from shiftlab.responses import Responses as Responses
from shiftlab.responses import respond as respond
from shiftlab.templates import Templates as Templates
from shiftlab.templates import templates as templates

__version__: str
