"""What every room needs: errors, the console, atomic files, intervals and the one shape of a result."""
