"""The deep Q-network: action values of a state, the target network, and the loss on remembered steps.

The agent that acts, remembers and moves the target network is in learner.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.functional import huber_loss
from nnatomy.graph import no_grad
from nnatomy.layers import Linear, Module, ReLU, Sequential
from nnatomy.ops.indexing import one_hot
from nnatomy.tensor import Parameter, Tensor


def chain(sizes: Sequence[int]) -> Sequential:
    """Return linear layers of these sizes with a ReLU between each two: one layer alone is linear."""
    parts: list[Module] = []
    for inputs, outputs in pairwise(sizes):
        if parts:
            parts.append(ReLU())
        parts.append(Linear(inputs, outputs))
    return Sequential(*parts)


class QNetwork(Module):
    """Q(s, a) for all actions a of a state s in one pass.

    The dueling form separates how good a state is from how much better each action is than the mean action:
    Q(s, a) = V(s) + A(s, a) - mean_a' A(s, a').

    Args:
        inputs: numbers in a state
        actions: number of actions
        hidden: units of the hidden layers; without any, the network is linear, and a table where states are one-hot
        dueling: whether V and A have separate streams above the common layers, each with the last hidden layer's size

    Source: Mnih et al. (2015); dueling: Wang et al. (2016), equation 9.
    """

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int] = (64, 64), dueling: bool = True) -> None:
        self.dueling = dueling
        if dueling:
            common, own = (inputs, *hidden[:-1]), hidden[-1:]
            self.common = chain(common)
            self.value = chain((common[-1], *own, 1))
            self.advantage = chain((common[-1], *own, actions))
        else:
            self.values = chain((inputs, *hidden, actions))

    def forward(self, s: Tensor) -> Tensor:
        """Return the values of all actions, (batch, actions), for states (batch, inputs)."""
        if not self.dueling:
            values: Tensor = self.values(s)
            return values
        h = ops.relu(self.common(s)) if len(self.common) else s
        value, advantage = self.value(h), self.advantage(h)  # (batch, 1), (batch, actions)
        values = value + advantage - advantage.mean(axis=1, keepdims=True)
        return values


class DQN(Module):
    """An online network that learns, and a target network, an older copy of it, that computes its targets.

    The target network's weights are buffers: saved, copied by `move_target`, followed by no gradient.

    Args:
        inputs, actions, hidden, dueling: of both networks
        double: whether the online network chooses the next action that the target network values

    Source: Mnih et al. (2015), algorithm 1; double: van Hasselt, Guez and Silver (2016), equation 4.
    """

    def __init__(
        self, inputs: int, actions: int, hidden: Sequence[int] = (64, 64), dueling: bool = True, double: bool = True
    ) -> None:
        self.online = QNetwork(inputs, actions, hidden, dueling)
        self.target = as_buffers(QNetwork(inputs, actions, hidden, dueling))
        self.target.load_state_dict(self.online.state_dict())
        self.double = double
        self.updates = Tensor(B.asarray(0, dtype="int32"))
        """Updates of the online network so far."""

    def forward(self, s: Tensor) -> Tensor:
        """Return the online network's action values, (batch, actions)."""
        values: Tensor = self.online(s)
        return values

    def targets(self, reward: Tensor, following: Tensor, discount: Tensor) -> Tensor:
        """Return what Q(s, a) should be, (batch,): r + discount Q'(s', a'), without a gradient.

        a' = argmax_a Q'(s', a), or argmax_a Q(s', a) if `double`.

        Args:
            reward: (batch,)
            following: the next states s', (batch, inputs)
            discount: gamma, or 0 where s' ended the episode; (batch,). Where a limit of steps cut it, gamma: life went on

        Source: Mnih et al. (2015), algorithm 1; van Hasselt, Guez and Silver (2016), equation 4.
        """
        with no_grad():
            ahead = self.target(following)
            chosen = self.online(following) if self.double else ahead
            return reward + discount * taken(ahead, chosen.argmax(axis=1))

    def move_target(self, tau: float, every: int) -> None:
        """Count an update; at each `every`-th one, Q' <- tau Q + (1 - tau) Q'. A copy is tau = 1, a slow pursuit every = 1."""
        with no_grad():
            self.updates.copy_(self.updates + 1)
            due = ops.equal(self.updates % every, 0)  # a condition in the arithmetic: compiled once, it holds at every step
            for old, new in zip(tensors(self.target), tensors(self.online), strict=True):
                old.copy_(ops.where(due, tau * new + (1 - tau) * old, old))


def loss(
    model: DQN, state: Tensor, action: Tensor, reward: Tensor, following: Tensor, discount: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean Huber loss of the errors y - Q(s, a), and all action values of the states.

    Beyond 1 the loss is linear, so that the gradient of one error stays within [-1, 1]: the clipped error of the paper.

    Args:
        state, following: (batch, inputs)
        action: ids, (batch,)
        reward, discount: (batch,); see `DQN.targets`

    Source: Mnih et al. (2015), algorithm 1 and Methods, "Training algorithm for deep Q-networks".
    """
    values = model.online(state)
    y = model.targets(reward, following, discount)
    return huber_loss(taken(values, action), y.astype(values.dtype)), values


def build(inputs: int, actions: int, hidden: Sequence[int] = (64, 64), dueling: bool = True, double: bool = True) -> DQN:
    """Return an agent's networks, the target network equal to the online one."""
    return DQN(inputs, actions, hidden, dueling, double)


def taken(values: Tensor, action: Any) -> Tensor:
    """Return the value of one action a row: (batch, actions) and ids (batch,) to (batch,)."""
    chosen: Tensor = (values * one_hot(action, values.shape[1], dtype=values.dtype)).sum(axis=1)
    return chosen


def as_buffers(network: QNetwork) -> QNetwork:
    """Return a network whose parameters have become buffers."""
    for module in list(network.modules()):
        for name, value in list(vars(module).items()):
            if isinstance(value, Parameter):
                setattr(module, name, Tensor(value.data))
    return network


def tensors(network: Module) -> list[Tensor]:
    """Return parameters and buffers in the order of the layers."""
    return [t for _, t in sorted([*network.named_parameters(), *network.named_buffers()], key=lambda pair: pair[0])]
