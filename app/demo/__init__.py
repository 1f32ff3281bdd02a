"""The embedded model: the text it learned from, its tokenizer, and the code that trained it."""
