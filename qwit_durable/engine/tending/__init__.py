"""What a process does besides: it beats, fires what is due, rings again for what nobody took up, and prunes."""
