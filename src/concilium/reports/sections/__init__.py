"""The parts of a report, one file each: every ``section(evidence)`` is HTML, or nothing."""
