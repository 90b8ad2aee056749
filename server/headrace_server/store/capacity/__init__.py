"""What Claude jobs may ask of the model's service, and what they may spend: the rows, and what changes them."""
