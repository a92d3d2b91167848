"""What a pair of image and sound is, and how pairs are packed into and streamed out of WebDataset shards."""
