"""`millrace bench --engine`: the engine alone, without HTTP, compared with what the machine can do."""
