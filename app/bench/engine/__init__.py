"""`millrace bench --engine`: the engine alone, without HTTP, beside what the machine can do."""
