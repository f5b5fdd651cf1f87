"""Comparing architectures fairly: one protocol for all, baselines, statistics, a report."""

from __future__ import annotations
