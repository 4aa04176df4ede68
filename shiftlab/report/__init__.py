"""The uncertainty report: figures, tables and one self-contained HTML page."""

from shiftlab.report.page import report, report_from_folder

__all__ = ["report", "report_from_folder"]
