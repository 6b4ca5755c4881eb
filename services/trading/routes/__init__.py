"""HTTP in: parse → operation or query → render."""
