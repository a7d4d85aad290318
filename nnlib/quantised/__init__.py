"""Networks in fixed point and in mixed precision: layers and devices around those that compute with real numbers."""
