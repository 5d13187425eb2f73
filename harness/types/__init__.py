"""What a plugin author meets, a module for each subject."""
