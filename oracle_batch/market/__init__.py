"""The market: real bars from a folder, contracts, conversion rates, and an engine that trades on them."""
