"""The load generator behind `millrace bench`, for any server with OpenAI's API over HTTP."""
