"""Planted faults: does the fast suite see that a method is wrong?"""
