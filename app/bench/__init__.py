"""The load generator behind `millrace bench`: it speaks HTTP to any server with OpenAI's API, and to nothing else."""
