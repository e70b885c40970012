"""What a reply changes in files, and how like the golden change it is; nothing is run."""
