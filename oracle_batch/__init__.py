"""oracle-batch: a bar-close batch job that trades HMM+PPO models on cTrader."""

__version__ = "0.1.0"
