"""Tuning: a recipe's settings are searched inside outer folds, so that the reported score is not the optimized one."""

from __future__ import annotations
