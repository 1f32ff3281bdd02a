"""Replies of chat models: how each model marks reasoning and tool calls, and reading that while the text arrives."""
