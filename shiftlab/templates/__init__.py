"""Templates: histograms of the tasks' observables for every variation, as a pyhf workspace."""

from shiftlab.templates.build import SAMPLES, templates
from shiftlab.templates.findings import Finding
from shiftlab.templates.settings import TemplateSettings
from shiftlab.templates.templates import Observation, Templates

templates_all = templates

__all__ = ["SAMPLES", "Finding", "Observation", "TemplateSettings", "Templates", "templates", "templates_all"]
