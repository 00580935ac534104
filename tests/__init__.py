"""Tests of concilium."""
