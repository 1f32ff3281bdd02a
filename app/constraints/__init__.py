"""Grammars on tokens: compile a constraint, check it at the door, follow it by token, and mask what it forbids."""
