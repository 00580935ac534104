"""findings: a Flower / PyTorch app."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from concilium.flower.strategy import ConciliumStrategy  # concilium
from concilium.weightings.by_label_evidence import ByLabelEvidence  # concilium
from findings.task import LABELS, Net

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp."""
    # Read run config
    fraction_evaluate = context.run_config["fraction-evaluate"]
    num_rounds = context.run_config["num-server-rounds"]
    lr = context.run_config["learning-rate"]

    # Load global model
    torch.manual_seed(0)
    arrays = ArrayRecord(Net().state_dict())

    # Initialize the strategy, where FedAvg(fraction_evaluate=fraction_evaluate) stood
    strategy = ConciliumStrategy(  # concilium
        head="fc2", weighting=ByLabelEvidence(), fraction_evaluate=fraction_evaluate
    )

    # Start strategy
    result = strategy.start(
        grid=grid,
        initial_arrays=arrays,
        train_config=ConfigRecord({"lr": lr}),
        num_rounds=num_rounds,
    )

    # The model is in result.arrays.to_torch_state_dict()
    metrics = result.evaluate_metrics_clientapp[num_rounds]
    for name, auroc in zip(LABELS, metrics["auroc"], strict=True):
        print(f"AUROC of {name}: {auroc:.3f}")
