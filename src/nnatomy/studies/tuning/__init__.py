"""Tuning: a recipe's settings are searched inside outer folds, so that the score told is not the one optimized."""

from __future__ import annotations
