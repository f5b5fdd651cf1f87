"""The deep Q-network in PyTorch: an independent twin, written from Mnih et al. (2015), van Hasselt et al. (2016) and
Wang et al. (2016). It shares nothing with the architecture's model but the names and shapes of its state."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LR, TAU, EVERY = 1e-3, 1.0, 2


def stack(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes, with a ReLU between each two."""
    parts: list[nn.Module] = []
    for k in range(len(sizes) - 1):
        if k:
            parts.append(nn.ReLU())
        parts.append(nn.Linear(sizes[k], sizes[k + 1]))
    return nn.Sequential(*parts)


class Values(nn.Module):
    """Q(s, .) by one chain of layers, or by streams for V(s) and A(s, .) whose mean over actions is taken away."""

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int], dueling: bool) -> None:
        super().__init__()
        self.dueling = dueling
        if dueling:
            shared, width = list(hidden[:-1]), hidden[-1]
            before = shared[-1] if shared else inputs
            self.common = stack([inputs, *shared])
            self.value = stack([before, width, 1])
            self.advantage = stack([before, width, actions])
        else:
            self.values = stack([inputs, *hidden, actions])

    def forward(self, s: Tensor) -> Tensor:
        if not self.dueling:
            out: Tensor = self.values(s)
            return out
        h = torch.relu(self.common(s)) if len(self.common) else s
        a = self.advantage(h)
        q: Tensor = self.value(h) + (a - a.mean(dim=1, keepdim=True))
        return q


class DQN(nn.Module):
    """The online network; the target network, whose tensors are buffers; the number of updates."""

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int], dueling: bool, double: bool) -> None:
        super().__init__()
        self.online = Values(inputs, actions, hidden, dueling)
        self.target = Values(inputs, actions, hidden, dueling)
        self.target.load_state_dict(self.online.state_dict())
        for module in self.target.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach().clone())
        self.double = double
        self.register_buffer("updates", torch.zeros((), dtype=torch.int32))

    def forward(self, s: Tensor) -> Tensor:
        out: Tensor = self.online(s)
        return out


def build(inputs: int, actions: int, hidden: Sequence[int] = (64, 64), dueling: bool = True, double: bool = True) -> DQN:
    """Both networks, the target network a copy of the online one."""
    return DQN(inputs, actions, hidden, dueling, double)


def loss(model: DQN, state: Tensor, action: Tensor, reward: Tensor, following: Tensor, discount: Tensor) -> Tensor:
    """Batch mean of the Huber loss of r + discount Q'(s', a') - Q(s, a)."""
    with torch.no_grad():
        next_values = model.target(following)
        if model.double:
            next_value = next_values.gather(1, model.online(following).argmax(dim=1, keepdim=True)).squeeze(1)
        else:
            next_value = next_values.max(dim=1).values
        y = reward + discount * next_value
    q = model.online(state).gather(1, action[:, None]).squeeze(1)
    error = y - q
    inside = error.abs() <= 1
    return torch.where(inside, 0.5 * error**2, error.abs() - 0.5).mean()


def learn(
    model: DQN, progress: float, state: Tensor, action: Tensor, reward: Tensor, following: Tensor, discount: Tensor
) -> None:
    """One step of Adam on the online network; at every second step the target network becomes a copy of it."""
    if progress == 0:
        model.optimizer = torch.optim.Adam(model.online.parameters(), lr=LR)
    model.optimizer.zero_grad()
    loss(model, state, action, reward, following, discount).backward()
    model.optimizer.step()
    model.updates += 1
    if int(model.updates) % EVERY == 0:
        with torch.no_grad():
            fresh = model.online.state_dict()
            for name, old in model.target.state_dict().items():
                old.copy_(TAU * fresh[name] + (1 - TAU) * old)
