"""Shell completion of the console command: what can follow each verb, and scripts for bash, zsh and fish."""
