"""Training, backtest and audit. The only place that may import torch, stable-baselines3, hmmlearn and their like."""
