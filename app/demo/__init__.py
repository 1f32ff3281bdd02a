"""The embedded model: the text that it was trained on, its tokenizer, and the training code."""
