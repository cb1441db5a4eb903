"""What training, judging and solving take on this machine: the command ``speed``."""
