"""Numbers quantised, dequantised and requantised, and the steps that they need."""
