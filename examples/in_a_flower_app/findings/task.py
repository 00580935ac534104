"""findings: a Flower / PyTorch app."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from concilium.losses.balanced_bce import BalancedBinaryCrossEntropy  # concilium

LABELS = ("Effusion", "Cardiomegaly", "Hernia")
NUM_FEATURES = 16


class Net(nn.Module):
    """Model (two layers, one logit a finding)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(NUM_FEATURES, 32)
        self.norm = nn.BatchNorm1d(32)
        self.fc2 = nn.Linear(32, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.norm(self.fc1(x))))


def load_data(partition_id: int, num_partitions: int, batch_size: int) -> tuple[DataLoader, ...]:
    """Synthetic features of one hospital, their findings, and which of them anybody looked for."""
    generator = torch.Generator().manual_seed(1_000 + partition_id)
    rule = torch.randn(NUM_FEATURES, len(LABELS), generator=torch.Generator().manual_seed(0))
    features = torch.randn(400, NUM_FEATURES, generator=generator)
    rarity = torch.tensor([1.0, 3.0, 6.0]) + partition_id / num_partitions
    noise = 2 * torch.randn(400, len(LABELS), generator=generator)
    target = (features @ rule + noise > rarity).float()
    known = torch.ones(400, len(LABELS), dtype=torch.bool)
    if partition_id == 0:
        known[:, LABELS.index("Hernia")] = False  # nobody annotates hernias here
    data = TensorDataset(features, target, known)
    train, test = torch.utils.data.random_split(data, [300, 100], generator=generator)
    return DataLoader(train, batch_size, shuffle=True, generator=generator), DataLoader(test, 100)


def train(net: Net, trainloader: DataLoader, epochs: int, lr: float, device: torch.device) -> float:
    """Train the model on the training set."""
    net.to(device)
    criterion = BalancedBinaryCrossEntropy()  # concilium
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    net.train()
    running_loss = 0.0
    for _ in range(epochs):
        for features, target, known in trainloader:
            optimizer.zero_grad()
            scores = net(features.to(device))
            loss = criterion(scores, target.to(device), known.to(device))  # concilium
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    return running_loss / (epochs * len(trainloader))


def labels_of(loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Target and known of all exams."""
    _, target, known = loader.dataset[:]
    return target, known


def test(net: Net, testloader: DataLoader, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, target and known of the test set."""
    net.to(device)
    net.eval()
    with torch.no_grad():
        rows = [(net(x.to(device)).cpu(), target, known) for x, target, known in testloader]
    scores, target, known = (torch.cat(column) for column in zip(*rows, strict=True))
    return scores, target, known
