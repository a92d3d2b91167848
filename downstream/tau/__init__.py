"""Audiovisual scene classification on TAU Urban Audio-Visual Scenes 2021."""
