"""What clients do to jobs: submit them, alone or as graphs, list, change, cancel, retry and delete them."""
