"""`headrace top`: what is read (`reading`), how it looks (`columns`, `panels`, `view`), and the terminal (`screen`)."""
