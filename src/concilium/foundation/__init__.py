"""What every other part stands on: errors, checks, seeds, components, named tensors."""
