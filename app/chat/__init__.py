"""`millrace chat`: a conversation with a server, in the terminal. Standard library only."""
