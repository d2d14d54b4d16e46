"""The follower: folds the same log behind the decider, in a process of its own."""

from __future__ import annotations

from avalist.follow.follower import Fold, Follower

__all__ = ["Fold", "Follower"]
