"""How rooms are trained and measured: recipes, the loop, runs, tasks. Imports of models happen when a room is asked for."""
