"""Which regime the market is in: a Gaussian HMM over three inputs, decoded three ways (DESIGN §3.3)."""
