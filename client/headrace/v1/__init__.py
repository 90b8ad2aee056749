"""The contract: generated from proto/ by scripts/generate, never edited by hand."""
