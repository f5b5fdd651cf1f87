"""The deep Q-network (2013)."""

from nnatomy.architectures.reinforcement.dqn.model import DQN, QNetwork, build, loss

__all__ = ["DQN", "QNetwork", "build", "loss"]
