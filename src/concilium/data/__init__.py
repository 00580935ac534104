"""Exams as tables and arrays: images, splits by patient, batches."""
