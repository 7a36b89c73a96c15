"""The neighbourhood officer: the service that residents, officers and the station talk through."""
