"""The loss limits of known firms, one documented file each; a copy of one is a file for ``preset = "custom"``."""
