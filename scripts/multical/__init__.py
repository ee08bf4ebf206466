"""What the scripts of multical share: one small module per idea."""
