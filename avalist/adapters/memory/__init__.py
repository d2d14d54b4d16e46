"""In memory: the first implementation of every port, for tests and dry runs."""
